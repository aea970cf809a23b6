#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test_folder.h"
#include "corpus/test_compress.h"
#include "msa/document.h"
#include "text/utf8.h"

namespace msa {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct ReadBack {
  std::vector<Document> documents;
  std::vector<std::string> problems;  // "where: what"
  DocumentCounts counts;

  std::vector<std::string> ids() const {
    std::vector<std::string> out;
    for (const Document& d : documents) out.push_back(d.id);
    return out;
  }
  std::vector<std::string> texts() const {
    std::vector<std::string> out;
    for (const Document& d : documents) out.push_back(d.text);
    return out;
  }
};

ReadBack read(const std::vector<fs::path>& paths, size_t max_record_bytes = 16u << 20) {
  ReadBack out;
  ReaderOptions options;
  options.max_record_bytes = max_record_bytes;
  options.on_problem = [&](const DocumentProblem& p) {
    out.problems.push_back(p.where + ": " + p.what);
  };
  auto source = open_documents(paths, options);
  if (!source) throw std::runtime_error(source.error().message);
  while (true) {
    auto document = (*source)->next();
    if (!document) throw std::runtime_error(document.error().message);
    if (!*document) break;
    out.documents.push_back(std::move(**document));
  }
  EXPECT_FALSE((*source)->next()->has_value()) << "the end stays the end";
  out.counts = (*source)->counts();
  EXPECT_EQ(out.counts.documents, out.documents.size());
  EXPECT_EQ(out.counts.bad, out.problems.size());
  EXPECT_EQ(out.counts.bytes_read, out.counts.bytes_total);
  return out;
}
Error refused(const std::vector<fs::path>& paths) {
  const auto source = open_documents(paths);
  if (source) throw std::runtime_error("opened");
  return source.error();
}

TEST(Documents, JsonLines) {
  const TestFolder folder;
  const fs::path file = folder.put("a.jsonl",
                                   "\xEF\xBB\xBF{\"id\":\"x\",\"title\":\"T\",\"text\":\"one\"}\r\n"
                                   "\n  \r\n"
                                   "{\"text\":\"two\",\"source\":\"web\"}\n"
                                   "{\"text\":\"  \\n \"}\n"
                                   "{\"text\":}\n"
                                   "[1,2]\n"
                                   "{\"id\":5,\"text\":\"last\xFF\"}");
  const ReadBack got = read({file});
  const std::string name = file.string();
  EXPECT_THAT(got.ids(), ElementsAre("x", name + ":4", "5"));
  EXPECT_THAT(got.texts(), ElementsAre("one", "two", "last\uFFFD"));
  EXPECT_EQ(got.documents[0].title, "T");
  EXPECT_EQ(got.documents[0].source, name);
  EXPECT_EQ(got.documents[1].source, "web");
  EXPECT_EQ(got.documents[2].char_end, 5u);
  EXPECT_THAT(got.problems, ElementsAre(name + ":6: not valid JSON at byte 9 of the record",
                                        name + ":7: not a JSON object"));
  EXPECT_EQ(got.counts.empty, 1u);
  EXPECT_EQ(got.counts.replaced_utf8, 1u);
  EXPECT_EQ(got.counts.files, 1u);
  EXPECT_EQ(got.counts.bytes_total, fs::file_size(file));
}

TEST(Documents, LinesAroundTheLimit) {
  const TestFolder folder;
  const auto line = [](size_t size) {
    return "{\"text\":\"" + std::string(size - 11, 'x') + "\"}";
  };
  const fs::path file =
      folder.put("a.jsonl", line(100) + "\n" + line(101) + "\n" + line(99) + "\n" + line(5000));
  const ReadBack got = read({file}, 100);
  EXPECT_THAT(got.ids(), ElementsAre(file.string() + ":1", file.string() + ":3"));
  EXPECT_THAT(got.problems,
              ElementsAre(file.string() + ":2: longer than 100 bytes; split the document",
                          file.string() + ":4: longer than 100 bytes; split the document"));
}

TEST(Documents, AHugeLineIsNotHeld) {
  const TestFolder folder;
  // 300 MB of text in 300 KB of gzip: read through, never stored.
  std::string member = gzip(std::string(50 << 20, 'x'));
  std::string bytes = gzip("{\"text\":\"one\"}\n{\"text\":\"");
  for (int i = 0; i < 6; ++i) bytes += member;
  bytes += gzip("\"}\n{\"text\":\"three\"}\n");
  const ReadBack got = read({folder.put("bomb.jsonl.gz", bytes)});
  EXPECT_THAT(got.texts(), ElementsAre("one", "three"));
  EXPECT_THAT(got.problems, ElementsAre(HasSubstr("bomb.jsonl.gz:2: longer than 16777216 bytes")));
}

TEST(Documents, JsonArray) {
  const TestFolder folder;
  const fs::path file = folder.put("a.json", R"([
    {"title": "A [b] \"c\" {d}", "text": "one, two] }", "more": {"deep": [[{}]]}},
    {"title": "no text"},
    "a string", 17 , null,
    {"id": "given",
     "text": "three"}
  ]
)");
  const ReadBack got = read({file});
  const std::string name = file.string();
  EXPECT_THAT(got.ids(), ElementsAre(name + "#0", "given"));
  EXPECT_THAT(got.texts(), ElementsAre("one, two] }", "three"));
  EXPECT_EQ(got.documents[0].title, "A [b] \"c\" {d}");
  EXPECT_THAT(
      got.problems,
      ElementsAre(name + ":3: no \"text\" field with a string", name + ":4: not a JSON object",
                  name + ":4: not a JSON object", name + ":4: not a JSON object"));
}

TEST(Documents, JsonSingleRecordAndEmptyArray) {
  const TestFolder folder;
  const fs::path file =
      folder.put("one.json", "\xEF\xBB\xBF {\"text\":\"one\",\n\"title\":\"T\"} \n");
  EXPECT_THAT(read({file}).ids(), ElementsAre(file.string()));
  EXPECT_THAT(read({folder.put("none.json", "[ ]")}).problems, IsEmpty());
}

TEST(Documents, JsonThatIsBroken) {
  const TestFolder folder;
  const struct {
    const char* json;
    const char* problem;
    size_t documents;
  } cases[] = {
      {"", "a.json:1: an empty file", 0},
      {"[{\"text\":\"a\"}\n", "a.json:2: the array breaks off", 1},
      {"[{\"text\":\"a\"},\n{\"text\":\"b", "a.json:2: the last record breaks off", 1},
      {"[{\"text\":\"a\"}\n{\"text\":\"b\"}]", "a.json:2: neither ',' nor ']'", 1},
      {"[{\"text\":\"a\"},]", "a.json:1: ']' where a record should be", 1},
      {"[,]", "a.json:1: ',' where a record should be", 0},
      {"{\"text\":\"a\"}\n{\"text\":\"b\"}", "a.json:2: something follows", 1},
      {"{\"text\":\"a\"", "a.json:1: the last record breaks off", 0},
      {"[{\"text\":\"a\"}] \0", nullptr, 1},
  };
  for (const auto& c : cases) {
    const ReadBack got = read({folder.put("a.json", c.json), folder.put("b.txt", "goes on")});
    EXPECT_EQ(got.documents.size(), c.documents + 1) << c.json;
    if (c.problem == nullptr) {
      EXPECT_THAT(got.problems, IsEmpty());
    } else {
      EXPECT_THAT(got.problems, ElementsAre(HasSubstr(c.problem))) << c.json;
    }
  }
}

TEST(Documents, JsonRecordsAroundTheLimitAndDeepOnes) {
  const TestFolder folder;
  const std::string record = "{\"text\":\"" + std::string(89, 'x') + "\"}";  // 100 bytes
  const fs::path file = folder.put(
      "a.json", "[" + record + ",{\"text\":\"" + std::string(1 << 20, 'z') + "\"}," + record + "]");
  ReadBack got = read({file}, 100);
  EXPECT_THAT(got.ids(), ElementsAre(file.string() + "#0", file.string() + "#2"));
  EXPECT_THAT(got.problems, ElementsAre(HasSubstr("a record of more than 100 bytes")));

  got = read({folder.put("deep.json", std::string(3 << 20, '['))});
  EXPECT_THAT(got.problems, ElementsAre(HasSubstr("the last record breaks off")));
}

// However the file is cut into blocks, arrays give the same records.
TEST(Documents, JsonArrayOverManyBlocks) {
  const TestFolder folder;
  std::string json = "[";
  for (int i = 0; i < 3000; ++i) {
    if (i > 0) json += i % 3 == 0 ? ",\n" : " , ";
    json += R"({"id":)" + std::to_string(i) + R"(,"text":")" +
            std::string(static_cast<size_t>(i * 7 % 1001), 'y') + R"(\\\" ]"})";
  }
  json += "]";
  for (const char* name : {"a.json", "a.json.gz", "a.json.zst"}) {
    const std::string_view ending(name);
    const ReadBack got = read({folder.put(name, ending.ends_with("gz")    ? gzip(json)
                                                : ending.ends_with("zst") ? zstd(json)
                                                                          : json)});
    EXPECT_THAT(got.problems, IsEmpty());
    ASSERT_EQ(got.documents.size(), 3000u);
    for (size_t i = 0; i < 3000; ++i) {
      EXPECT_EQ(got.documents[i].id, std::to_string(i));
      EXPECT_EQ(got.documents[i].text, std::string(i * 7 % 1001, 'y') + "\\\" ]");
    }
  }
}

TEST(Documents, Text) {
  const TestFolder folder;
  const fs::path file = folder.put("Some notes.TXT", "\xEF\xBB\xBFgrün\r\n\xFF text\n");
  const ReadBack got = read({file});
  ASSERT_EQ(got.documents.size(), 1u);
  const Document& d = got.documents[0];
  EXPECT_EQ(d.id, file.string());
  EXPECT_EQ(d.source, file.string());
  EXPECT_EQ(d.title, "Some notes");
  EXPECT_EQ(d.text, "grün\r\n\uFFFD text\n");
  EXPECT_EQ(d.char_begin, 0u);
  EXPECT_EQ(d.char_end, 13u);
  EXPECT_EQ(got.counts.replaced_utf8, 1u);
}

TEST(Documents, TextLimits) {
  const TestFolder folder;
  const ReadBack got = read(
      {folder.put("a.txt", std::string(1600, 'x')), folder.put("b.txt", std::string(1601, 'x')),
       folder.put("c.txt", " \n\t\xE3\x80\x80"), folder.put("d.txt", "")},
      100);
  EXPECT_EQ(got.documents.size(), 1u);
  EXPECT_EQ(got.counts.empty, 2u);
  EXPECT_THAT(got.problems, ElementsAre(HasSubstr("b.txt: a text of more than 1600 bytes")));
}

TEST(Documents, Markdown) {
  const TestFolder folder;
  const struct {
    const char* file;
    const char* title;
    const char* text;
  } cases[] = {
      {"# The Title\n\nText.\n# Next\n", "The Title", "\nText.\n# Next\n"},
      {"\n\n## A title ##\r\nText", "A title", "Text"},
      {"# C#\nText", "C#", "Text"},
      {"Preface.\n\n# Late\nText", "Late", "Preface.\n\n# Late\nText"},
      {"No heading, #hashtag\n#nospace\n", "name", "No heading, #hashtag\n#nospace\n"},
      {"```\n# comment\n```\n# Real\nText", "Real", "```\n# comment\n```\n# Real\nText"},
      {"####### seven\n", "name", "####### seven\n"},
      {"#\n# \n# Full\nText", "Full", "#\n# \n# Full\nText"},
  };
  for (const auto& c : cases) {
    const std::string whole = c.file;
    const ReadBack got = read({folder.put("name.md", whole)});
    ASSERT_EQ(got.documents.size(), 1u) << whole;
    const Document& d = got.documents[0];
    EXPECT_EQ(d.title, c.title) << whole;
    EXPECT_EQ(d.text, c.text) << whole;
    EXPECT_EQ(d.char_end, whole.size());
    EXPECT_EQ(whole.substr(d.char_begin), d.text);
  }
  EXPECT_EQ(read({folder.put("name.md", "# Only a title\n")}).counts.empty, 1u);
}

TEST(Documents, CompressedNames) {
  const TestFolder folder;
  const ReadBack got =
      read({folder.put("a.b.txt.gz", gzip("text")), folder.put("m.md.zst", zstd("x"))});
  EXPECT_EQ(got.documents[0].title, "a.b");
  EXPECT_EQ(got.documents[1].title, "m");
}

TEST(Documents, FoldersInNameOrder) {
  const TestFolder folder;
  for (const char* sub : {"b", "b/inner", ".hidden", "empty"}) fs::create_directory(folder / sub);
  for (const char* name : {"c.txt", "a.txt", "b/2.txt", "b/10.txt", "b/inner/z.md", "photo.jpg",
                           ".secret.txt", ".hidden/x.txt", "B.txt", "README"})
    folder.put(name, name);
  fs::create_directory_symlink(folder.path(), folder / "b/loop");
  fs::create_symlink(folder / "a.txt", folder / "link.txt");
  fs::create_symlink(folder / "nowhere.txt", folder / "dangling.txt");
  ASSERT_EQ(::mkfifo((folder / "pipe.txt").c_str(), 0600), 0);
  const ReadBack got = read({folder.path()});
  std::vector<std::string> names;
  for (const Document& d : got.documents)
    names.push_back(fs::path(d.id).lexically_relative(folder.path()).string());
  EXPECT_THAT(names, ElementsAre("B.txt", "a.txt", "b/10.txt", "b/2.txt", "b/inner/z.md", "c.txt",
                                 "link.txt"));
  EXPECT_THAT(got.problems, IsEmpty());
}

TEST(Documents, DamagedFilesAreLeftOutAndTheRestGoesOn) {
  const TestFolder folder;
  const std::string line = "{\"id\":\"a\",\"text\":\"one\"}\n";
  std::string half = gzip(line + std::string(1000, ' '));
  half.resize(half.size() - 9);
  folder.put("a.jsonl.gz", half);
  folder.put("b.txt", "two");
  folder.put("c.txt.zst", "no zstd");
  const ReadBack got = read({folder.path()});
  EXPECT_THAT(got.texts(), ElementsAre("one", "two"));
  ASSERT_EQ(got.problems.size(), 2u);
  EXPECT_THAT(got.problems[0],
              HasSubstr((folder / "a.jsonl.gz").string() + ": the gzip data breaks"));
  EXPECT_THAT(got.problems[1], HasSubstr("c.txt.zst: damaged zstd data"));
}

TEST(Documents, WhatCannotBeOpened) {
  const TestFolder folder;
  EXPECT_EQ(refused({}).code, Code::invalid_argument);
  EXPECT_EQ(refused({folder / "none.txt"}).code, Code::not_found);
  const Error other = refused({folder.put("a.txt", "x"), folder.put("photo.jpg", "x")});
  EXPECT_EQ(other.code, Code::unsupported);
  EXPECT_THAT(other.message, HasSubstr("photo.jpg"));
  EXPECT_THAT(other.message, HasSubstr(".jsonl"));
  fs::create_directory(folder / "empty");
  const Error empty = refused({folder / "empty"});
  EXPECT_EQ(empty.code, Code::not_found);
  EXPECT_THAT(empty.message, HasSubstr(".txt, .md, .jsonl and .json"));
  if (::geteuid() != 0) {
    const fs::path locked = folder.put("locked.txt", "x");
    fs::permissions(locked, fs::perms::none);
    EXPECT_EQ(refused({locked}).code, Code::permission);
  }
}

TEST(Documents, VanishedFileIsAProblem) {
  const TestFolder folder;
  const fs::path gone = folder.put("a.txt", "x");
  folder.put("b.txt", "stays");
  std::vector<std::string> problems;
  ReaderOptions options;
  options.on_problem = [&](const DocumentProblem& p) {
    problems.push_back(p.where + "|" + p.what);
  };
  auto source = open_documents({folder.path()}, options);
  ASSERT_TRUE(source);
  fs::remove(gone);
  EXPECT_EQ((*(*source)->next())->text, "stays");
  EXPECT_THAT(problems, ElementsAre(HasSubstr(gone.string() + "|cannot open")));
}

TEST(Documents, ProgressCountsStoredBytes) {
  const TestFolder folder;
  std::string lines;
  for (int i = 0; i < 20000; ++i) lines += "{\"text\":\"" + std::to_string(i * 7919) + "\"}\n";
  folder.put("a.jsonl.gz", gzip(lines));
  folder.put("b.txt", "text");
  auto source = open_documents({folder.path()});
  ASSERT_TRUE(source);
  const uint64_t total = (*source)->counts().bytes_total;
  EXPECT_EQ(total, fs::file_size(folder / "a.jsonl.gz") + 4);
  EXPECT_EQ((*source)->counts().bytes_read, 0u);
  uint64_t last = 0;
  while (true) {
    auto document = (*source)->next();
    ASSERT_TRUE(document);
    if (!*document) break;
    EXPECT_GE((*source)->counts().bytes_read, last);
    last = (*source)->counts().bytes_read;
  }
  EXPECT_EQ((*source)->counts().bytes_read, total);
}

// Standard input, fed with `bytes`.
ReadBack read_stdin(std::string_view bytes) {
  const TestFolder folder;
  const fs::path file = folder.put("stdin", bytes);
  const int saved = ::dup(STDIN_FILENO);
  std::FILE* opened = std::fopen(file.c_str(), "rb");
  ::dup2(::fileno(opened), STDIN_FILENO);
  std::fclose(opened);
  ReadBack got;
  auto source = open_documents({"-"});
  while (true) {
    auto document = (*source)->next();
    if (!document || !*document) break;
    got.documents.push_back(std::move(**document));
  }
  got.counts = (*source)->counts();
  ::dup2(saved, STDIN_FILENO);
  ::close(saved);
  return got;
}

TEST(Documents, StandardInput) {
  ReadBack got = read_stdin("\xEF\xBB\xBF\n {\"text\":\"one\"}\n{\"id\":1,\"text\":\"two\"}\n");
  EXPECT_THAT(got.ids(), ElementsAre("stdin:2", "1"));
  EXPECT_EQ(got.documents[0].source, "stdin");
  EXPECT_EQ(got.counts.bytes_total, 0u) << "unknown";
  EXPECT_GT(got.counts.bytes_read, 0u);
  got = read_stdin("Plain text.\n{\"text\":1}\n");
  EXPECT_THAT(got.ids(), ElementsAre("stdin"));
  EXPECT_THAT(got.texts(), ElementsAre("Plain text.\n{\"text\":1}\n"));
  EXPECT_EQ(got.documents[0].title, "");
  EXPECT_THAT(read_stdin("").ids(), IsEmpty());
}

TEST(Documents, ZeroLimitIsRefused) {
  ReaderOptions options;
  options.max_record_bytes = 0;
  EXPECT_FALSE(open_documents({"-"}, options));
}

}  // namespace
}  // namespace msa
