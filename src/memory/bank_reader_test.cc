// One reader for the life of a bank: its snapshots are those of a reader that opens it anew, and
// cost what has changed since the one before.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "memory/attachment.h"
#include "memory/numbering.h"
#include "memory/test_routed_bank.h"

namespace msa {
namespace {

using testing::HasSubstr;
using Removed = BankWriter::Removed;

class LongLivedReader : public BankTest {
 protected:
  using SnapshotPtr = std::shared_ptr<const Snapshot>;

  static SnapshotPtr snapshot(BankReader& reader) {
    auto snapshot = reader.snapshot();
    EXPECT_TRUE(snapshot.ok()) << snapshot.error().message;
    return snapshot.ok() ? *snapshot : nullptr;
  }
  void remove(const std::vector<uint32_t>& numbers) {
    auto w = writer();
    for (const uint32_t number : numbers)
      ASSERT_EQ(*w->remove(make_document(number).id), Removed::document);
    ASSERT_TRUE(w->commit().ok());
  }

  static bool equal(const DocumentSpan& a, const DocumentSpan& b) {
    return a.number == b.number && a.first_chunk == b.first_chunk && a.chunks == b.chunks;
  }
  // Segment by segment, span by span, and that the same rows are mapped.
  static void expect_same(const Snapshot& a, const Snapshot& b) {
    EXPECT_EQ(a.router_layers, b.router_layers);
    EXPECT_EQ(a.documents, b.documents);
    EXPECT_EQ(a.chunks, b.chunks);
    ASSERT_EQ(a.segments.size(), b.segments.size());
    for (size_t s = 0; s < a.segments.size(); ++s) {
      const SegmentView &x = a.segments[s], &y = b.segments[s];
      EXPECT_EQ(x.id, y.id);
      EXPECT_TRUE(std::equal(x.documents.begin(), x.documents.end(), y.documents.begin(),
                             y.documents.end(), equal))
          << "segment " << x.id;
      ASSERT_EQ(x.layers.size(), y.layers.size());
      for (size_t l = 0; l < x.layers.size(); ++l) {
        const ConstAnyMat &k = x.layers[l].keys, &m = y.layers[l].keys;
        ASSERT_EQ(k.rows, m.rows);
        ASSERT_EQ(k.cols, m.cols);
        EXPECT_EQ(std::memcmp(k.data, m.data, k.rows * k.cols * size_of(k.dtype)), 0);
      }
    }
  }
};

TEST_F(LongLivedReader, WhatDidNotChangeIsShared) {
  fill_bank(bank_, manifest_, {4, 3, 2});
  auto r = reader();
  const SnapshotPtr before = snapshot(*r);
  EXPECT_EQ(snapshot(*r), before);
  remove({1, 5});
  fill_bank(bank_, manifest_, {2});
  const SnapshotPtr after = snapshot(*r);
  expect_same(*after, *snapshot(*reader()));
  ASSERT_EQ(after->segments.size(), 4u);
  for (const size_t s : {0, 1, 2}) {
    EXPECT_EQ(after->segments[s].layers[0].keys.data, before->segments[s].layers[0].keys.data);
    const bool shared = after->segments[s].documents.data() == before->segments[s].documents.data();
    EXPECT_EQ(shared, s == 2) << s;
  }
  // Who holds the one before sees it as it was, also when nobody else does.
  r.reset();
  ASSERT_EQ(before->segments[0].documents.size(), 4u);
  EXPECT_EQ(before->segments[0].documents[1].number, 1u);
  EXPECT_EQ(before->documents, 9u);
  EXPECT_EQ(after->segments[2].documents[1].number, 8u);
}

// Whatever one writer does: changes, one at a time or several between two snapshots.
TEST_F(LongLivedReader, RandomHistories) {
  for (uint32_t seed = 0; seed < 5; ++seed) {
    std::filesystem::remove_all(bank_);
    std::mt19937 random(seed);
    const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
    fill_bank(bank_, manifest_, {below(5), 1 + below(5)});
    auto r = reader();
    const SnapshotPtr first = snapshot(*r);
    const SnapshotPtr first_anew = snapshot(*reader());
    for (int step = 0; step < 40; ++step) {
      std::vector<DocumentRecord> live;
      const auto listed =
          reader()->catalogue().each_document(0, false, [&](const DocumentRecord& d) {
            live.push_back(d);
            return true;
          });
      ASSERT_TRUE(listed.ok()) << listed.error().message;
      const auto any = [&]() -> const DocumentRecord& {
        return live[below(static_cast<uint32_t>(live.size()))];
      };
      const uint32_t action = below(12);
      if (action == 0) {  // documents encoded elsewhere, numbered as another shard
        const auto other = folder_ / fmt::format("other-{}-{}", seed, step);
        const uint32_t next = writer()->next_number();
        {
          auto w = open_or_create_numbered(other, manifest_, {next + below(3), 2});
          ASSERT_TRUE(w.ok()) << w.error().message;
          for (int i = 0; i < 3; ++i) {
            const uint32_t number = (*w)->next_number();
            ASSERT_TRUE((*w)->add({make_document(number)}, make_batch(manifest_, {number})).ok());
            if (i == 1) {
              ASSERT_TRUE((*w)->commit().ok());
            }
          }
          ASSERT_TRUE((*w)->commit().ok());
        }
        const auto attached = attach_banks(bank_, {other}, {false, below(2) == 0}, {}, {});
        ASSERT_TRUE(attached.ok()) << attached.error().message;
      } else if (action == 1) {
        const auto done = writer()->compact((1 + below(60)) * 432, {}, {});
        ASSERT_TRUE(done.ok()) << done.error().message;
      } else if (action == 2 && !live.empty()) {  // another name
        auto w = writer();
        NewDocument twin = make_document(0);
        twin.id = fmt::format("twin-{}", step);
        ASSERT_TRUE(w->add_alias(twin, any().number).ok());
        ASSERT_TRUE(w->commit().ok());
      } else if (action <= 4 && !live.empty()) {  // another text
        auto w = writer();
        const std::string id = any().id;
        const uint32_t number = w->next_number();
        NewDocument document = make_document(number);
        document.id = id;
        ASSERT_NE(*w->remove(id), Removed::nothing);
        ASSERT_TRUE(w->add({document}, make_batch(manifest_, {number})).ok());
        ASSERT_TRUE(w->commit().ok());
      } else {  // some go, some come, or both
        auto w = writer();
        if (action % 2 == 0) {
          for (uint32_t removals = below(5); removals > 0 && !live.empty(); --removals)
            ASSERT_TRUE(w->remove(any().id).ok());
        }
        if (action % 3 != 0) {
          ASSERT_TRUE(add_documents(*w, manifest_, below(5)).ok());
        }
        ASSERT_TRUE(w->commit().ok());
      }
      if (below(3) == 0) continue;
      const SnapshotPtr anew = snapshot(*reader());
      if (below(2) == 0) {
        expect_same(*snapshot(*r), *anew);
      } else {
        const auto view = r->view();
        ASSERT_TRUE(view.ok()) << view.error().message;
        expect_same(*(*view)->snapshot(), *anew);
      }
      if (HasFailure()) {
        ADD_FAILURE() << "seed " << seed << ", step " << step << ", action " << action;
        return;
      }
    }
    expect_same(*first, *first_anew);
  }
}

TEST_F(LongLivedReader, DamageInWhatIsNewIsAnErrorAndDoesNotStay) {
  fill_bank(bank_, manifest_, {3, 2});
  const auto file = bank_ / "catalogue.sqlite";
  auto r = reader();
  const SnapshotPtr before = snapshot(*r);
  fill_bank(bank_, manifest_, {2});
  tamper(file, "UPDATE documents SET chunks = 0 WHERE number = 6");
  for (int i = 0; i < 2; ++i) {
    const auto damaged = r->snapshot();
    ASSERT_FALSE(damaged.ok());
    EXPECT_EQ(damaged.error().code, Code::corrupt);
    EXPECT_THAT(damaged.error().message, HasSubstr("row 6: chunks is 0"));
    EXPECT_FALSE(r->view().ok());
  }
  tamper(file, fmt::format("UPDATE documents SET chunks = {} WHERE number = 6", chunks_of(6)));
  expect_same(*snapshot(*r), *snapshot(*reader()));

  // The same in a segment that lost a document.
  remove({0});
  tamper(file, "UPDATE documents SET first_chunk = 4000 WHERE number = 2");
  const auto damaged = r->snapshot();
  ASSERT_FALSE(damaged.ok());
  EXPECT_THAT(damaged.error().message, HasSubstr("row 2: 3 chunks from 4000 on"));
  EXPECT_EQ(before->documents, 5u);
}

constexpr int kNotAllowed = 77;

// One reader before and after a change, as an ordinary user: permissions do not bind root. Says on
// `done` that it has read the documents 0 to 42, and waits at `changed` until there are only those
// from 20 to 242. Returns 0, or where it went wrong.
int read_before_and_after(const std::filesystem::path& bank, int done, int changed) {
  constexpr uid_t kNobody = 65534;
  if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) return kNotAllowed;
  const auto reader = BankReader::open(bank);
  if (!reader) return 1;
  const auto holds = [&](uint32_t first, uint32_t last) {
    const uint64_t count = last - first + 1;
    const auto snapshot = (*reader)->snapshot();
    const auto view = (*reader)->view();
    if (!snapshot || !view) return false;
    if ((*snapshot)->documents != count || (*view)->snapshot()->documents != count) return false;
    for (uint32_t number = first; number <= last; ++number) {
      const auto record = (*view)->catalogue().find(number);
      if (!record || !*record || (*record)->text != make_document(number).text) return false;
    }
    const auto totals = (*reader)->catalogue().totals();
    const auto report = (*reader)->verify({});
    return totals.ok() && totals->documents == count && report.ok() && report->problems.empty();
  };
  if (!holds(0, 42)) return 2;
  const auto early = (*reader)->view();
  if (!early || !(*early)->check()) return 5;
  char turn = 0;
  if (::write(done, &turn, 1) != 1 || ::read(changed, &turn, 1) != 1) return 3;
  const auto late = (*early)->check();
  if (late || late.error().code != Code::busy) return 6;
  return holds(20, 242) ? 0 : 4;
}

TEST_F(LongLivedReader, SeesChangesInAFolderThatItCannotWrite) {
  fill_bank(bank_, manifest_, {40, 3});
  ASSERT_EQ(chmod(folder_.path().c_str(), 0755), 0);
  ASSERT_EQ(chmod(bank_.c_str(), 0555), 0);
  int done[2], changed[2];
  ASSERT_EQ(pipe(done), 0);
  ASSERT_EQ(pipe(changed), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(done[0]);
    close(changed[1]);
    _exit(read_before_and_after(bank_, done[1], changed[0]));
  }
  close(done[1]);
  close(changed[0]);
  char turn = 0;
  if (::read(done[0], &turn, 1) == 1) {
    chmod(bank_.c_str(), 0755);
    {
      auto w = writer();
      for (uint32_t number = 0; number < 20; ++number)
        EXPECT_EQ(*w->remove(make_document(number).id), Removed::document);
      EXPECT_TRUE(add_documents(*w, manifest_, 200).ok());
      EXPECT_TRUE(w->commit().ok());
      EXPECT_TRUE(w->compact(1u << 20, {}, {}).ok());
    }
    chmod(bank_.c_str(), 0555);
    EXPECT_EQ(::write(changed[1], &turn, 1), 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  close(done[0]);
  close(changed[1]);
  chmod(bank_.c_str(), 0755);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kNotAllowed) GTEST_SKIP() << "cannot become another user";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(LongLivedReader, ASegmentThatIsMissingIsAnError) {
  fill_bank(bank_, manifest_, {3});
  auto r = reader();
  ASSERT_NE(snapshot(*r), nullptr);
  fill_bank(bank_, manifest_, {2});
  std::filesystem::remove(bank_ / "segments/00000002.seg");
  const auto missing = r->snapshot();
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_THAT(missing.error().message, HasSubstr("00000002.seg"));
}

}  // namespace
}  // namespace msa
