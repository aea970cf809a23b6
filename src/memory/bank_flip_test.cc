// Single bits of every file of a bank, flipped: verify reports each one that changes anything.
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <set>

#include "memory/test_bank.h"

namespace msa {
namespace {

namespace fs = std::filesystem;

// Everything a bank says, without its vectors.
Result<std::string> all_of(const fs::path& bank) {
  MSA_ASSIGN(const auto reader, BankReader::open(bank));
  const Catalogue& catalogue = reader->catalogue();
  MSA_ASSIGN(const std::string manifest, catalogue.manifest());
  MSA_ASSIGN(const uint32_t next_number, catalogue.next_number());
  MSA_ASSIGN(const int64_t next_segment, catalogue.next_segment());
  std::string all = fmt::format("{}\n{} {}\n", manifest, next_number, next_segment);
  MSA_ASSIGN(const auto segments, catalogue.segments());
  for (const SegmentRecord& s : segments)
    all += fmt::format("{} {} {} {} {}\n", s.id, s.file, s.chunks, s.bytes, s.checksum);
  MSA_ASSIGN(const auto retired, catalogue.retired());
  for (const SegmentRecord& s : retired) all += fmt::format("{} {}\n", s.id, s.file);
  Result<void> names;
  MSA_TRY(catalogue.each_document(0, true, [&](const DocumentRecord& d) {
    all += fmt::format("{} {} {} {} {} {} {} {} {} {} {} {}\n", d.number, d.id, d.title, d.source,
                       d.text, d.char_begin, d.char_end, d.hash, d.tokens, d.segment, d.first_chunk,
                       d.chunks);
    const auto aliases = catalogue.aliases(d.number);
    if (!aliases) {
      names = aliases.error();
      return false;
    }
    for (const AliasRecord& a : *aliases)
      all += fmt::format("also {} {} {} {}\n", a.id, a.source, a.char_begin, a.char_end);
    // By their names they are found too.
    const auto by_id = catalogue.find_id(d.id);
    if (!by_id || !*by_id || (*by_id)->number != d.number) all += "not found by its id\n";
    return true;
  }));
  MSA_TRY(std::move(names));
  MSA_ASSIGN(const auto layout, catalogue.layout());
  for (const auto& documents : layout.documents)
    for (const DocumentSpan& span : documents)
      all += fmt::format("{} {} {}\n", span.number, span.first_chunk, span.chunks);
  MSA_ASSIGN(const CatalogueTotals totals, catalogue.totals());
  all += fmt::format("{} {} {} {} {}\n", totals.documents, totals.chunks, totals.tokens,
                     totals.text_bytes, totals.aliases);
  return all;
}

class Flip : public testing::Test {
 protected:
  // A bank with all there can be in one. The writer is left without being closed, so that all its
  // commits are in the log, or closed.
  void make_bank(bool closed) {
    const pid_t child = fork();
    if (child == 0) {
      auto writer = BankWriter::open_or_create(bank_, small_manifest());
      const auto add = [&](uint32_t count) {
        return writer && add_documents(**writer, small_manifest(), count) && (*writer)->commit();
      };
      bool good = add(40) && add(7);
      NewDocument twin = make_document(5);
      twin.id = "twin";
      good = good && (*writer)->add_alias(twin, 5) && (*writer)->commit();
      good = good && (*writer)->remove("doc/3") && (*writer)->commit() && add(3);
      if (closed) writer->reset();
      _exit(good ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }

  // Flips single bits of `name` in copies of the bank: those at `places` and `more` at random ones.
  // Returns how many flips changed what the bank says.
  size_t flip(const std::string& name, std::set<uint64_t> places, size_t more) {
    const Result<std::string> before = all_of(bank_);
    EXPECT_TRUE(before.ok()) << before.error().message;
    EXPECT_TRUE(verify_problems(bank_).empty());
    const std::string good = TestFolder::get(bank_ / name);
    std::mt19937 random(23);
    while (more-- > 0) places.insert(random() % good.size());
    size_t changed = 0, reported = 0;
    for (const uint64_t at : places) {
      const fs::path copy = folder_ / "copy";
      fs::remove_all(copy);
      fs::copy(bank_, copy, fs::copy_options::recursive);
      const unsigned bit = random() % 8;
      flip_bit(copy / name, at, bit);
      const Result<std::string> after = all_of(copy);
      const bool differs = !after || *after != *before;
      const auto problems = verify_problems(copy);
      changed += differs;
      reported += !problems.empty();
      EXPECT_TRUE(!differs || !problems.empty())
          << "bit " << bit << " of byte " << at << " of " << name << " is not noticed";
    }
    std::printf("%s: %zu flips, %zu changed what the bank says, %zu were reported\n", name.c_str(),
                places.size(), changed, reported);
    return changed;
  }

  TestFolder folder_;
  fs::path bank_ = folder_ / "bank";
};

TEST_F(Flip, OfTheCatalogue) {
  make_bank(/*closed=*/true);
  ASSERT_FALSE(fs::exists(bank_ / "catalogue.sqlite-wal"));
  const uint64_t size = fs::file_size(bank_ / "catalogue.sqlite");
  std::set<uint64_t> places;
  for (uint64_t at = 0; at < 108; ++at)
    places.insert(at);                                   // the file's and the first page's header
  for (uint64_t page = 4096; page < size; page += 4096)  // every page's header, and its last bytes
    for (uint64_t i = 0; i < 12; ++i) places.insert({page + i, page - 1 - i});
  EXPECT_GT(flip("catalogue.sqlite", places, 1000), 300u);
}

TEST_F(Flip, OfTheLog) {
  make_bank(/*closed=*/false);
  const uint64_t size = fs::file_size(bank_ / "catalogue.sqlite-wal");
  constexpr uint64_t kFrame = 24 + 4096;
  std::set<uint64_t> places;
  for (uint64_t at = 0; at < 32; ++at) places.insert(at);
  for (uint64_t frame = 32; frame + kFrame <= size; frame += kFrame)
    for (uint64_t i = 0; i < 24; i += 1 + frame % 3) places.insert(frame + i);
  EXPECT_GT(flip("catalogue.sqlite-wal", places, 600), 600u);
}

TEST_F(Flip, OfASegment) {
  fill_bank(bank_, small_manifest(), {6, 3});
  const fs::path file = bank_ / "segments/00000002.seg";
  const uint64_t size = fs::file_size(file);
  std::set<uint64_t> places;
  for (uint64_t at = 0; at < 64 + 3 * 64; ++at) places.insert(at);  // header and layer table
  for (uint64_t page = 4096; page <= size; page += 4096)            // arrays begin here
    for (uint64_t i = 1; i < 4; ++i) places.insert({page - i, std::min(page + i, size) - 1});
  std::mt19937 random(29);
  for (int i = 0; i < 300; ++i) places.insert(random() % size);
  for (const uint64_t at : places) {
    const unsigned bit = random() % 8;
    flip_bit(file, at, bit);
    EXPECT_EQ(verify_problems(bank_).size(), 1u) << "bit " << bit << " of byte " << at;
    flip_bit(file, at, bit);
  }
  EXPECT_TRUE(verify_problems(bank_).empty());
}

}  // namespace
}  // namespace msa
