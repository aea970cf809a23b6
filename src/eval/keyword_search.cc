#include "eval/keyword_search.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <set>
#include <string>
#include <system_error>
#include <utility>

namespace msa::eval {
namespace {

struct CloseDatabase {
  void operator()(sqlite3* handle) const { sqlite3_close(handle); }
};
struct Finalize {
  void operator()(sqlite3_stmt* handle) const { sqlite3_finalize(handle); }
};
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

// What counts as a word's character to SQLite's tokenizer, as far as quoting needs to know.
bool is_word_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         static_cast<unsigned char>(c) >= 0x80;
}

// "who" OR "designed" OR …: each word once.
std::string any_word_of(std::string_view question) {
  std::set<std::string> words;
  std::string word;
  for (size_t i = 0; i <= question.size(); ++i) {
    if (i < question.size() && is_word_byte(question[i])) {
      word += question[i];
    } else if (!word.empty()) {
      words.insert(std::exchange(word, {}));
    }
  }
  std::string query;
  for (const std::string& each : words) query += (query.empty() ? "\"" : " OR \"") + each + "\"";
  return query;
}

}  // namespace

struct KeywordSearch::State {
  std::filesystem::path file;
  std::unique_ptr<sqlite3, CloseDatabase> database;
  Statement insert, select;
  bool adding = false;  // a transaction is open

  ~State() {
    insert.reset();
    select.reset();
    database.reset();
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
  }

  Error failure(int code) const {
    const char* text = database ? sqlite3_errmsg(database.get()) : sqlite3_errstr(code);
    switch (code & 0xff) {
      case SQLITE_FULL:
        return {Code::no_space,
                fmt::format("{}: {}; free some space or use another folder", file.string(), text)};
      case SQLITE_CANTOPEN:
      case SQLITE_PERM:
      case SQLITE_READONLY:
        return {Code::permission,
                fmt::format("{}: {}; use a folder that can be written", file.string(), text)};
      case SQLITE_ERROR:
        return {Code::unsupported,
                fmt::format("keyword search: {}; SQLite with FTS5 is needed", text)};
      default: return {Code::io, fmt::format("{}: {}; check the disk", file.string(), text)};
    }
  }

  Result<void> execute(const char* sql) {
    const int code = sqlite3_exec(database.get(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return failure(code);
    return {};
  }

  Result<Statement> prepare(const char* sql) {
    sqlite3_stmt* handle = nullptr;
    const int code = sqlite3_prepare_v2(database.get(), sql, -1, &handle, nullptr);
    if (code != SQLITE_OK) return failure(code);
    return Statement(handle);
  }
};

KeywordSearch::KeywordSearch(std::unique_ptr<State> state) : state_(std::move(state)) {}
KeywordSearch::KeywordSearch(KeywordSearch&&) noexcept = default;
KeywordSearch& KeywordSearch::operator=(KeywordSearch&&) noexcept = default;
KeywordSearch::~KeywordSearch() = default;

Result<KeywordSearch> KeywordSearch::create(const std::filesystem::path& file) {
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored))
    return Error{Code::invalid_argument,
                 fmt::format("{}: is there already; remove it first", file.string())};
  auto state = std::make_unique<State>();
  state->file = file;
  sqlite3* handle = nullptr;
  const int code =
      sqlite3_open_v2(file.c_str(), &handle,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  state->database.reset(handle);
  if (code != SQLITE_OK) return state->failure(code);
  // Nobody needs the file after a crash. The texts themselves are not kept (content='').
  MSA_TRY(
      state->execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                     "CREATE VIRTUAL TABLE documents USING fts5(title, text, content='',"
                     " tokenize='porter unicode61');"));
  MSA_ASSIGN(state->insert,
             state->prepare("INSERT INTO documents(rowid, title, text) VALUES (?, ?, ?)"));
  MSA_ASSIGN(state->select, state->prepare("SELECT rowid FROM documents WHERE documents MATCH ?"
                                           " ORDER BY bm25(documents), rowid LIMIT ?"));
  return KeywordSearch(std::move(state));
}

Result<void> KeywordSearch::add(uint64_t number, std::string_view title, std::string_view text) {
  if (!state_->adding) {
    MSA_TRY(state_->execute("BEGIN"));
    state_->adding = true;
  }
  sqlite3_stmt* insert = state_->insert.get();
  // Rows of a full-text table count from 1.
  sqlite3_bind_int64(insert, 1, static_cast<sqlite3_int64>(number) + 1);
  sqlite3_bind_text64(insert, 2, title.data(), title.size(), SQLITE_STATIC, SQLITE_UTF8);
  sqlite3_bind_text64(insert, 3, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  const int code = sqlite3_step(insert);
  sqlite3_reset(insert);
  sqlite3_clear_bindings(insert);
  if (code != SQLITE_DONE) return state_->failure(code);
  return {};
}

Result<std::vector<uint64_t>> KeywordSearch::find(std::string_view question, size_t limit) {
  if (state_->adding) {
    MSA_TRY(state_->execute("COMMIT"));
    state_->adding = false;
  }
  std::vector<uint64_t> found;
  const std::string query = any_word_of(question);
  if (query.empty()) return found;
  sqlite3_stmt* select = state_->select.get();
  sqlite3_bind_text64(select, 1, query.data(), query.size(), SQLITE_STATIC, SQLITE_UTF8);
  sqlite3_bind_int64(select, 2, static_cast<sqlite3_int64>(limit));
  int code = SQLITE_ROW;
  while ((code = sqlite3_step(select)) == SQLITE_ROW)
    found.push_back(static_cast<uint64_t>(sqlite3_column_int64(select, 0) - 1));
  const Result<void> done = code == SQLITE_DONE ? Result<void>() : state_->failure(code);
  sqlite3_reset(select);
  sqlite3_clear_bindings(select);
  if (!done) return done.error();
  return found;
}

}  // namespace msa::eval
