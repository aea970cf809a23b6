#include "trainer/signals.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace msa::trainer {
namespace {

std::atomic<int> g_stop{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  if (g_stop.exchange(number) == 0) return;
  // The second one: as if nothing had been installed.
  ::signal(number, SIG_DFL);
  ::raise(number);
}

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM}) {
    struct sigaction old {};
    ::sigaction(number, &action, &old);
    if (old.sa_handler == SIG_IGN) ::sigaction(number, &old, nullptr);
  }
}

bool stop_requested() {
  return g_stop.load() != 0;
}

void prepare_process() {
  for (int fd = 0; fd <= 2; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
        // The lowest free descriptor is this one.
        [[maybe_unused]]
      const int opened = ::open("/dev/null", O_RDWR);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
  // What is not a tensor (batches, texts) comes and goes in smaller pieces: a margin keeps the heap
  // from shrinking and growing in between.
  ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

}  // namespace msa::trainer
