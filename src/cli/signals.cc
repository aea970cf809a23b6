#include "cli/signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cassert>
#include <cerrno>

namespace msa::cli {
namespace {

constexpr char kSignalled = 's', kDone = 'd';

// What the handler may touch. One StopOnSignal at a time owns them.
std::atomic<int> g_pipe{-1};
std::atomic<int> g_first_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int number) {
  const int saved = errno;
  int none = 0;
  if (g_first_signal.compare_exchange_strong(none, number)) {
    [[maybe_unused]] const ssize_t written = ::write(g_pipe.load(), &kSignalled, 1);
  } else {
    // Blocked while this handler runs; ends the process as soon as it returns.
    ::signal(number, SIG_DFL);
    ::raise(number);
  }
  errno = saved;
}

}  // namespace

struct StopOnSignal::Handlers {
  int ends[2] = {-1, -1};
  struct sigaction old_int {
  }, old_term{};

  Handlers() {
    if (::pipe2(ends, O_CLOEXEC) != 0) return;  // out of descriptors: signals keep their effect
    assert(g_pipe.load() < 0);
    g_first_signal = 0;
    g_pipe = ends[1];
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;  // libraries underneath need not expect interrupted calls
    ::sigemptyset(&action.sa_mask);
    install(SIGINT, action, &old_int);
    install(SIGTERM, action, &old_term);
  }
  ~Handlers() {
    if (ends[0] < 0) return;
    ::close(ends[0]);
    ::close(ends[1]);
  }
  // A signal that whoever started the program had ignored (nohup, a shell's background job) stays
  // ignored.
  static void install(int number, const struct sigaction& action, struct sigaction* old) {
    ::sigaction(number, &action, old);
    if (old->sa_handler == SIG_IGN) ::sigaction(number, old, nullptr);
  }
  bool installed() const { return ends[0] >= 0; }
  void remove() {
    ::sigaction(SIGINT, &old_int, nullptr);
    ::sigaction(SIGTERM, &old_term, nullptr);
    g_pipe = -1;
  }
};

StopOnSignal::StopOnSignal(std::function<void()> on_first)
    : handlers_(std::make_unique<Handlers>()) {
  if (!handlers_->installed()) return;
  watcher_ = std::thread([this, on_first = std::move(on_first)] {
    char what = kDone;
    while (::read(handlers_->ends[0], &what, 1) < 0 && errno == EINTR) {
    }
    if (what != kSignalled) return;
    source_.request_stop();
    if (on_first) on_first();
  });
}

StopOnSignal::~StopOnSignal() {
  if (!handlers_->installed()) return;
  handlers_->remove();
  [[maybe_unused]] const ssize_t written = ::write(handlers_->ends[1], &kDone, 1);
  watcher_.join();
}

int StopOnSignal::signal() const {
  return requested() ? g_first_signal.load() : 0;
}

void ignore_write_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);
}

void ensure_standard_descriptors() {
  for (int fd = 0; fd <= 2; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
        // The lowest free descriptor is this one.
        [[maybe_unused]]
      const int opened = ::open("/dev/null", O_RDWR);
}

}  // namespace msa::cli
