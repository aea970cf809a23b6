#include "memory/sqlite.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "memory/bank_files.h"

namespace msa::sqlite {
namespace {

// How long a connection waits for another one's lock. Readers and the writer of a WAL file wait for
// each other only during recovery and checkpoints, which are short.
constexpr int kBusyMilliseconds = 10'000;

struct Meaning {
  Code code;
  std::string_view remedy;
};

Meaning meaning_of(int code, int system_error_number) {
  switch (code & 0xff) {
    case SQLITE_FULL: return {Code::no_space, "free some disk space and try again"};
    case SQLITE_NOMEM: return {Code::no_space, "free some memory and try again"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return {Code::busy, "wait until the other program is done and try again"};
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH: return {Code::permission, "check the permissions of the file and its folder"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Code::corrupt, "restore the bank from a copy, or encode into a new one"};
    case SQLITE_CANTOPEN:
      if (system_error_number == ENOENT) return {Code::not_found, "check the path"};
      if (system_error_number == ENOSPC || system_error_number == EDQUOT)
        return {Code::no_space, "free some disk space and try again"};
      if (system_error_number == EACCES || system_error_number == EPERM ||
          system_error_number == EROFS)
        return {Code::permission, "check the permissions of the file and its folder"};
      return {Code::io, "check the file, its folder and the disk"};
    case SQLITE_IOERR:
      if (code == SQLITE_IOERR_NOMEM) return {Code::no_space, "free some memory and try again"};
      // Whatever the reason: what was written before may be on the disk all the same.
      if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        return {Code::io, "check the disk, the space on it and the kernel's log"};
      if (system_error_number == ENOSPC || system_error_number == EDQUOT ||
          system_error_number == EFBIG)
        return {Code::no_space,
                "free some disk space (or raise the file size limit) and try again"};
      return {Code::io, "check the disk and the kernel's log"};
    case SQLITE_CONSTRAINT:
    case SQLITE_TOOBIG: return {Code::invalid_argument, "leave this document out"};
    case SQLITE_ERROR:
      return {Code::corrupt, "the catalogue is not as msa wrote it: restore the bank from a copy"};
    default: return {Code::internal, "report this as a bug"};
  }
}

// Why SQLite could not open or make a file, if the folder knows. SQLite tries again without making
// it, and then only reports that it is not there.
int cause_of_failed_open(const std::filesystem::path& file, bool making) {
  const std::filesystem::path folder = folder_of(file);
  // Makes room for a file without a name, which goes with its descriptor.
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  const int failed = fd < 0 ? errno : 0;
  if (fd >= 0) ::close(fd);
  if (failed != 0 && failed != EOPNOTSUPP && failed != EISDIR && failed != EINVAL) return failed;
  return making || ::access(file.c_str(), F_OK) == 0 ? 0 : ENOENT;
}

// `making`: the file was not to be there before.
Error make_error(sqlite3* handle, int code, const std::filesystem::path& file,
                 bool making = false) {
  int system_error_number = 0;
  std::string what = sqlite3_errstr(code);
  if (handle != nullptr) {
    if (const int extended = sqlite3_extended_errcode(handle); (extended & 0xff) == (code & 0xff))
      code = extended;
    const int primary = code & 0xff;
    if (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN || primary == SQLITE_FULL)
      system_error_number = sqlite3_system_errno(handle);
    if (const std::string_view detail = sqlite3_errmsg(handle); detail != what && code != SQLITE_OK)
      what = fmt::format("{} ({})", what, detail);
    if (primary == SQLITE_CANTOPEN && system_error_number == ENOENT)
      system_error_number = cause_of_failed_open(file, making);
  }
  if (system_error_number != 0)
    what += fmt::format(" ({})", std::generic_category().message(system_error_number));
  const Meaning meaning = meaning_of(code, system_error_number);
  return Error{meaning.code,
               fmt::format("{}: SQLite: {}; {}", file.string(), what, meaning.remedy)};
}

// `file` as an SQLite URI: everything but plain characters percent-encoded.
std::string uri_of(const std::filesystem::path& file, std::string_view query) {
  std::error_code ignored;
  std::string uri = "file://";
  for (const char c : std::filesystem::absolute(file, ignored).string()) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '/' || c == '.' || c == '-' || c == '_';
    if (plain)
      uri += c;
    else
      uri += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return fmt::format("{}?{}", uri, query);
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* handle) const {
  sqlite3_finalize(handle);
}

Error Statement::failure(int code) const {
  return make_error(sqlite3_db_handle(handle_.get()), code, file_);
}

void Statement::reset() {
  sqlite3_reset(handle_.get());
  sqlite3_clear_bindings(handle_.get());
  bind_failure_ = SQLITE_OK;
}

void Statement::bind(int parameter, int64_t value) {
  if (const int code = sqlite3_bind_int64(handle_.get(), parameter, value); code != SQLITE_OK)
    bind_failure_ = code;
}

void Statement::bind(int parameter, std::string_view text) {
  // A null pointer would bind NULL, not the empty text.
  const char* bytes = text.empty() ? "" : text.data();
  const int code =
      sqlite3_bind_text64(handle_.get(), parameter, bytes, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) bind_failure_ = code;
}

Result<bool> Statement::step() {
  if (bind_failure_ != SQLITE_OK) return failure(bind_failure_);
  const int code = sqlite3_step(handle_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return failure(code);
}

Result<void> Statement::run() {
  for (;;) {
    Result<bool> row = step();
    if (!row) {
      reset();
      return std::move(row).error();
    }
    if (!*row) break;
  }
  reset();
  return {};
}

Row::Row(const Statement& statement, std::string_view table)
    : statement_(statement), table_(table) {}

void Row::reject(std::string_view why) {
  if (problem_) return;
  problem_ = Error{Code::corrupt,
                   fmt::format("{}: table {}, row {}: {}; restore the bank from a copy, or encode "
                               "into a new one",
                               statement_.file().string(), table_,
                               sqlite3_column_int64(statement_.handle(), 0), why)};
}

bool Row::has_type(int column, std::string_view name, int type) {
  if (problem_) return false;
  if (sqlite3_column_type(statement_.handle(), column) == type) return true;
  reject(fmt::format("{} is not {}", name, type == SQLITE_INTEGER ? "an integer" : "text"));
  return false;
}

uint64_t Row::number(int column, std::string_view name, uint64_t least, uint64_t most) {
  if (!has_type(column, name, SQLITE_INTEGER)) return 0;
  const int64_t value = sqlite3_column_int64(statement_.handle(), column);
  if (value >= 0 && static_cast<uint64_t>(value) >= least && static_cast<uint64_t>(value) <= most)
    return static_cast<uint64_t>(value);
  reject(fmt::format("{} is {}, not within {} to {}", name, value, least, most));
  return 0;
}

uint64_t Row::bits(int column, std::string_view name) {
  if (!has_type(column, name, SQLITE_INTEGER)) return 0;
  return static_cast<uint64_t>(sqlite3_column_int64(statement_.handle(), column));
}

std::string Row::text(int column, std::string_view name) {
  if (!has_type(column, name, SQLITE_TEXT)) return {};
  const auto* bytes =
      reinterpret_cast<const char*>(sqlite3_column_text(statement_.handle(), column));
  const int length = sqlite3_column_bytes(statement_.handle(), column);
  if (bytes == nullptr) {
    if (length > 0) reject(fmt::format("{} cannot be read (out of memory?)", name));
    return {};
  }
  return {bytes, static_cast<size_t>(length)};
}

void Database::Close::operator()(sqlite3* handle) const {
  sqlite3_close_v2(handle);
}

Error Database::failure(int code) const {
  return make_error(handle_.get(), code, file_);
}

Result<Database> Database::open(const std::filesystem::path& file, Mode mode) {
  // STRICT tables need 3.37 (2021).
  constexpr int kOldestSqlite = 3'037'000;
  if (sqlite3_libversion_number() < kOldestSqlite)
    return Error{Code::unsupported,
                 fmt::format("{}: needs SQLite 3.37 or newer, this is {}; update the library",
                             file.string(), sqlite3_libversion())};

  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  std::string name = file.string();
  switch (mode) {
    case Mode::create: flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE; break;
    case Mode::write: flags |= SQLITE_OPEN_READWRITE; break;
    case Mode::read: flags |= SQLITE_OPEN_READONLY; break;
    case Mode::immutable:
      flags |= SQLITE_OPEN_READONLY | SQLITE_OPEN_URI;
      name = uri_of(file, "immutable=1");
      break;
  }
  Database database;
  database.file_ = file;
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &handle, flags, nullptr);
  database.handle_.reset(handle);
  if (code != SQLITE_OK) return make_error(handle, code, file, mode == Mode::create);

  sqlite3_busy_timeout(handle, kBusyMilliseconds);
  // The file may come from anybody: its schema may run nothing and call no functions with effects,
  // and its cells are checked as they are read.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  MSA_TRY(database.execute("PRAGMA cell_size_check = ON"));
  return database;
}

Result<Statement> Database::prepare(std::string_view sql) const {
  Statement statement;
  statement.file_ = file_;
  sqlite3_stmt* handle = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &handle, nullptr);
  statement.handle_.reset(handle);
  if (code != SQLITE_OK) return failure(code);
  return statement;
}

Result<void> Database::execute(const char* sql) const {
  const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failure(code);
  return {};
}

Result<int64_t> Database::integer(std::string_view sql) const {
  MSA_ASSIGN(Statement statement, prepare(sql));
  MSA_ASSIGN(const bool row, statement.step());
  if (!row || sqlite3_column_type(statement.handle(), 0) != SQLITE_INTEGER)
    return Error{Code::corrupt, fmt::format("{}: no integer from \"{}\"; restore the bank from a "
                                            "copy, or encode into a new one",
                                            file_.string(), sql)};
  return sqlite3_column_int64(statement.handle(), 0);
}

Result<std::string> Database::text(std::string_view sql) const {
  MSA_ASSIGN(Statement statement, prepare(sql));
  MSA_ASSIGN(const bool row, statement.step());
  if (!row || sqlite3_column_type(statement.handle(), 0) != SQLITE_TEXT)
    return Error{Code::corrupt, fmt::format("{}: no text from \"{}\"; restore the bank from a "
                                            "copy, or encode into a new one",
                                            file_.string(), sql)};
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement.handle(), 0));
  const int length = sqlite3_column_bytes(statement.handle(), 0);
  return std::string(bytes == nullptr ? "" : bytes,
                     bytes == nullptr ? 0 : static_cast<size_t>(length));
}

bool Database::in_transaction() const {
  return sqlite3_get_autocommit(handle_.get()) == 0;
}

Result<void> Database::close() {
  const int code = sqlite3_close(handle_.get());
  if (code != SQLITE_OK) return failure(code);
  (void)handle_.release();
  return {};
}

StopScope::StopScope(const Database& database, const std::stop_token& stop) : database_(database) {
  constexpr int kSteps = 1000;  // of SQLite's machine: well below a millisecond
  const auto stopped = [](void* token) {
    return static_cast<const std::stop_token*>(token)->stop_requested() ? 1 : 0;
  };
  sqlite3_progress_handler(database_.handle_.get(), kSteps, stopped,
                           const_cast<std::stop_token*>(&stop));
}

StopScope::~StopScope() {
  sqlite3_progress_handler(database_.handle_.get(), 0, nullptr, nullptr);
}

Result<Transaction> Transaction::begin(const Database& database, Kind kind) {
  if (database.in_transaction()) {
    assert(kind == Kind::read);  // a read inside another transaction sees what that one sees
    return Transaction(nullptr);
  }
  MSA_TRY(database.execute(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN"));
  return Transaction(&database);
}

Transaction::~Transaction() {
  // Some errors have rolled back already.
  if (database_ != nullptr && database_->in_transaction()) (void)database_->execute("ROLLBACK");
}

Result<void> Transaction::commit() {
  if (database_ == nullptr) return {};
  MSA_TRY(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace msa::sqlite
