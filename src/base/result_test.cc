#include "msa/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

namespace msa {
namespace {

Error failure() {
  return {Code::not_found, "a: is not there; look elsewhere"};
}

TEST(Result, HoldsAValueOrAnError) {
  Result<int> good = 7;
  ASSERT_TRUE(good.ok());
  EXPECT_TRUE(static_cast<bool>(good));
  EXPECT_EQ(*good, 7);
  *good = 8;
  EXPECT_EQ(good.value(), 8);

  const Result<int> bad = failure();
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, Code::not_found);
  EXPECT_EQ(bad.error().message, "a: is not there; look elsewhere");
}

TEST(Result, CarriesMoveOnlyValues) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(3);
  std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 3);
  EXPECT_EQ(*result, nullptr);
}

struct Base {
  virtual ~Base() = default;
  virtual int number() const { return 0; }
};
struct Derived : Base {
  int number() const override { return 1; }
};

TEST(Result, ConvertsToTheBase) {
  const auto make = []() -> Result<std::unique_ptr<Base>> { return std::make_unique<Derived>(); };
  const auto made = make();
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)->number(), 1);
}

TEST(Result, OfAStringIsNotAnError) {
  const Result<std::string> text = "text";
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, "text");
}

TEST(Result, OfNothing) {
  const Result<void> good;
  EXPECT_TRUE(good.ok());
  const Result<void> bad = failure();
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().code, Code::not_found);
}

Result<int> half(int n) {
  if (n % 2 != 0) return Error{Code::invalid_argument, std::to_string(n) + ": is odd"};
  return n / 2;
}

Result<std::vector<int>> halves(int n, std::vector<int>& seen) {
  MSA_TRY(half(n));
  seen.push_back(n);
  MSA_ASSIGN(const int first, half(n));
  seen.push_back(first);
  MSA_ASSIGN(const int second, half(first));
  return std::vector<int>{first, second};
}

TEST(Result, MacrosReturnTheFirstErrorAndGoNoFurther) {
  std::vector<int> seen;
  const auto good = halves(8, seen);
  ASSERT_TRUE(good);
  EXPECT_EQ(*good, (std::vector<int>{4, 2}));
  EXPECT_EQ(seen, (std::vector<int>{8, 4}));

  seen.clear();
  const auto late = halves(6, seen);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().message, "3: is odd");
  EXPECT_EQ(seen, (std::vector<int>{6, 3}));

  seen.clear();
  const auto early = halves(5, seen);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().message, "5: is odd");
  EXPECT_TRUE(seen.empty());
}

TEST(Result, EveryCodeHasItsOwnName) {
  std::set<std::string_view> names;
  const int last = static_cast<int>(Code::internal);
  for (int code = 0; code <= last; ++code) names.insert(code_name(static_cast<Code>(code)));
  EXPECT_EQ(names.size(), static_cast<size_t>(last) + 1);
  EXPECT_EQ(names.count("unknown"), 0u);
  EXPECT_EQ(code_name(Code::not_found), "not_found");
  EXPECT_EQ(code_name(static_cast<Code>(last + 1)), "unknown");
}

}  // namespace
}  // namespace msa
