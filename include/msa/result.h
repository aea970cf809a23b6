// Result<T>: either a value or an Error that says what failed, where, and what to do about it.
//
// Every function of the library that can fail for a reason outside the program (a file, an option,
// a question, the machine) returns one of these; exceptions never cross the library's edge. Bugs
// are asserts.
//
// Wording of messages: one line, "<what or which file>: <what is wrong, with the numbers>; <what to
// do>". No trailing full stop, no newline.
#pragma once

#include <cassert>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

// Marks what the shared library exports; everything else stays inside it.
#define MSA_API __attribute__((visibility("default")))

namespace msa {

// What kind of failure it was. The command line maps each to an exit code (docs/cli.md).
enum class Code {
  invalid_argument,  // an option, a question or a call that makes no sense
  not_found,         // a file, folder, document or tensor that is not there
  corrupt,           // a file whose bytes contradict themselves
  mismatch,          // two files that are each fine and do not belong together
  unsupported,       // correct, but not something this build or machine can do
  io,                // the operating system refused a read or a write
  no_space,          // the disk or the memory is full
  permission,        // reading or writing is not allowed
  busy,              // someone else holds the resource
  cancelled,         // the caller asked to stop
  internal,          // a library underneath failed in a way that should not happen
};

// The code's name as printed in logs and JSON, for example "not_found".
MSA_API std::string_view code_name(Code code);

struct Error {
  Code code = Code::internal;
  std::string message;
};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  // Lets `return std::make_unique<Derived>()` stand for a Result<std::unique_ptr<Base>>.
  template <class U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::remove_cvref_t<U>, T> &&
           !std::is_same_v<std::remove_cvref_t<U>, Error> &&
           !std::is_same_v<std::remove_cvref_t<U>, Result>) Result(U&& value)
      : state_(std::in_place_index<0>, std::forward<U>(value)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return assert(ok()), *std::get_if<0>(&state_); }
  const T& value() const& { return assert(ok()), *std::get_if<0>(&state_); }
  T&& value() && { return assert(ok()), std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { return assert(!ok()), *std::get_if<1>(&state_); }
  Error&& error() && { return assert(!ok()), std::move(*std::get_if<1>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const& { return assert(!ok_), error_; }
  Error&& error() && { return assert(!ok_), std::move(error_); }

 private:
  Error error_;
  bool ok_ = true;
};

}  // namespace msa

#define MSA_CONCAT_INNER(a, b) a##b
#define MSA_CONCAT(a, b) MSA_CONCAT_INNER(a, b)

// MSA_TRY(expression): returns the expression's error from the enclosing function, if it has one.
#define MSA_TRY(...)                                          \
  do {                                                        \
    if (auto msa_try_result = (__VA_ARGS__); !msa_try_result) \
      return std::move(msa_try_result).error();               \
  } while (false)

// MSA_ASSIGN(auto x, expression): x becomes the expression's value, or its error is returned.
#define MSA_ASSIGN(declaration, ...) \
  MSA_ASSIGN_INNER(MSA_CONCAT(msa_assign_, __LINE__), declaration, __VA_ARGS__)
#define MSA_ASSIGN_INNER(name, declaration, ...) \
  auto name = (__VA_ARGS__);                     \
  if (!name) return std::move(name).error();     \
  declaration = std::move(name).value()
