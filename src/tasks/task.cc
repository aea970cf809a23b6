#include "tasks/task.h"

#include <fmt/format.h>

#include <array>

#include "tasks/encyclopaedia.h"
#include "tasks/factbook.h"
#include "tasks/needle.h"
#include "tasks/prose.h"
#include "tasks/words.h"

namespace msa {
namespace {

struct Maker {
  TaskDescription (*describe)();
  Result<std::unique_ptr<Task>> (*make)(const TaskOptions&);
};
constexpr std::array kMakers = {
    Maker{describe_factbook_task, make_factbook_task},
    Maker{describe_needle_task, make_needle_task},
    Maker{describe_encyclopaedia_task, make_encyclopaedia_task},
    Maker{describe_prose_task, make_prose_task},
    Maker{describe_words_task, make_words_task},
};

}  // namespace

std::vector<TaskDescription> known_tasks() {
  std::vector<TaskDescription> tasks;
  for (const Maker& maker : kMakers) tasks.push_back(maker.describe());
  return tasks;
}

Result<std::unique_ptr<Task>> make_task(std::string_view name, const TaskOptions& options) {
  std::string known;
  for (const Maker& maker : kMakers) {
    const TaskDescription description = maker.describe();
    if (description.name == name) return maker.make(options);
    known += (known.empty() ? "" : ", ") + description.name;
  }
  return Error{Code::invalid_argument,
               fmt::format("task '{}': there is no such maker; there are {}", name, known)};
}

}  // namespace msa
