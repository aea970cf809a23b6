// Ctrl-C and SIGTERM as a request to stop at the next good place.
#pragma once

namespace msa::trainer {

// From here on, the first SIGINT or SIGTERM only makes stop_requested() true; a second one ends the
// process at once. A signal that was ignored at the start (nohup) stays ignored.
void catch_stop_signals();
bool stop_requested();

// Standard descriptors that are closed become /dev/null; writes into a closed pipe or beyond a size
// limit are errors of the write; freed memory stays with the process for a while.
void prepare_process();

}  // namespace msa::trainer
