// SQLite with owned handles and errors as values. Private to memory/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "msa/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace msa::sqlite {

// One prepared statement. Lives no longer than its Database. One caller at a time.
class Statement {
 public:
  // Back to before the first row, without bound values. Bind only after this or before any step().
  void reset();
  // Parameters count from 1. The bytes of `text` stay the caller's and must live until reset().
  void bind(int parameter, int64_t value);
  void bind(int parameter, std::string_view text);
  // The next row: true, or false after the last. An error bind() met comes out here.
  Result<bool> step();
  // For statements without rows: steps to the end and resets.
  Result<void> run();

  const std::filesystem::path& file() const { return file_; }
  sqlite3_stmt* handle() const { return handle_.get(); }

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* handle) const;
  };
  Error failure(int code) const;

  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  std::filesystem::path file_;
  int bind_failure_ = 0;
};

// Resets a cached statement when a function that steps it returns, so that it holds no read lock.
class ResetOnExit {
 public:
  explicit ResetOnExit(Statement& statement) : statement_(statement) { statement_.reset(); }
  ~ResetOnExit() { statement_.reset(); }
  ResetOnExit(const ResetOnExit&) = delete;
  ResetOnExit& operator=(const ResetOnExit&) = delete;

 private:
  Statement& statement_;
};

// Reads the columns of a statement's current row and checks each. After the first problem every
// further column reads as zero or empty; problem() then says which file, row and column it was.
class Row {
 public:
  // `table` and the integer in column 0 name the row in messages.
  Row(const Statement& statement, std::string_view table);

  uint64_t number(int column, std::string_view name, uint64_t least, uint64_t most);
  uint64_t bits(int column, std::string_view name);  // all 64, stored as a signed integer
  std::string text(int column, std::string_view name);
  // Records that a value is impossible for a reason that number() cannot know.
  void reject(std::string_view why);

  bool ok() const { return !problem_; }
  const Error& problem() const { return *problem_; }

 private:
  bool has_type(int column, std::string_view name, int type);

  const Statement& statement_;
  std::string_view table_;
  std::optional<Error> problem_;
};

// One connection. One caller at a time.
class Database {
 public:
  enum class Mode {
    create,     // makes the file, which must not exist
    write,      // an existing file
    read,       // an existing file; may need to make the shared-memory file beside it
    immutable,  // an existing file that nobody writes; makes nothing
  };
  static Result<Database> open(const std::filesystem::path& file, Mode mode);

  Result<Statement> prepare(std::string_view sql) const;
  // Runs any number of statements that yield no rows of interest.
  Result<void> execute(const char* sql) const;
  // The first column of the first row of a query, which must be an integer or text.
  Result<int64_t> integer(std::string_view sql) const;
  Result<std::string> text(std::string_view sql) const;

  bool in_transaction() const;
  // Closes at once, so that an error in closing is seen and no file of SQLite's is left.
  Result<void> close();
  const std::filesystem::path& file() const { return file_; }

 private:
  friend class StopScope;
  struct Close {
    void operator()(sqlite3* handle) const;
  };
  Error failure(int code) const;

  std::filesystem::path file_;
  std::unique_ptr<sqlite3, Close> handle_;
};

// While one of these lives, a stop request ends whatever statement runs on the database soon, with
// an error. One at a time; `stop` lives as long.
class StopScope {
 public:
  StopScope(const Database& database, const std::stop_token& stop);
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  const Database& database_;
};

// A transaction that is rolled back unless commit() succeeded.
class Transaction {
 public:
  enum class Kind { read, write };
  static Result<Transaction> begin(const Database& database, Kind kind);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(const Database* database) : database_(database) {}
  const Database* database_;  // null: over, or part of a transaction begun outside
};

}  // namespace msa::sqlite
