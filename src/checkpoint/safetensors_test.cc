#include "checkpoint/safetensors.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "base/test_folder.h"

namespace msa {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string little_endian(uint64_t value) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  return bytes;
}
std::string file_of(std::string_view header, std::string_view data) {
  return little_endian(header.size()) + std::string(header) + std::string(data);
}
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

constexpr std::string_view kHeader =
    R"({"__metadata__":{"format":"pt"},)"
    R"("b":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
    R"("a":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},)"
    R"("s":{"data_offsets":[22,30],"shape":[],"dtype":"I64"},)"
    R"("h":{"dtype":"F16","shape":[0,5],"data_offsets":[30,30]}}  )";
const std::string kData = "0123456789abcdefABCDEF--------";

void expect_corrupt(std::string_view bytes, const std::string& part) {
  const TestFolder folder;
  const auto file = SafetensorsFile::open(folder.put("m.safetensors", bytes));
  ASSERT_FALSE(file) << part;
  EXPECT_EQ(file.error().code, Code::corrupt) << file.error().message;
  EXPECT_THAT(file.error().message, AllOf(HasSubstr("/m.safetensors: "), HasSubstr(part),
                                          HasSubstr("; "), Not(HasSubstr("\n"))));
}
// A file with one tensor 't' that is described by `fields`.
void expect_corrupt_tensor(std::string_view fields, std::string_view data,
                           const std::string& part) {
  expect_corrupt(file_of(fmt::format(R"({{"t":{{{}}}}})", fields), data), part);
}

TEST(Safetensors, ReadsEveryTensor) {
  const TestFolder folder;
  const auto file = SafetensorsFile::open(folder.put("m.safetensors", file_of(kHeader, kData)));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensors().size(), 4u);
  const auto b = file->find("b");
  ASSERT_TRUE(b);
  EXPECT_EQ(b->dtype, DType::f32);
  EXPECT_THAT(b->shape, ElementsAre(2, 2));
  EXPECT_EQ(b->count(), 4u);
  EXPECT_EQ(text_of(b->bytes), "0123456789abcdef");
  EXPECT_EQ(b->matrix().rows, 2u);
  const auto a = file->find("a");
  EXPECT_EQ(text_of(a->bytes), "ABCDEF");
  EXPECT_EQ(a->matrix().rows, 1u);
  EXPECT_EQ(a->matrix().cols, 3u);
  const auto s = file->find("s");
  EXPECT_EQ(s->dtype, DType::i64);
  EXPECT_TRUE(s->shape.empty());
  EXPECT_EQ(s->count(), 1u);
  EXPECT_EQ(s->matrix().cols, 1u);
  EXPECT_EQ(file->find("h")->count(), 0u);

  const auto missing = file->find("c");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_THAT(missing.error().message, AllOf(HasSubstr("m.safetensors"), HasSubstr("'c'")));
}

TEST(Safetensors, ViewsSurviveAMove) {
  const TestFolder folder;
  auto file = SafetensorsFile::open(folder.put("m.safetensors", file_of(kHeader, kData)));
  ASSERT_TRUE(file);
  const TensorView view = *file->find("a");
  std::vector<SafetensorsFile> files;
  files.push_back(std::move(*file));
  files.reserve(100);
  EXPECT_EQ(text_of(view.bytes), "ABCDEF");
  EXPECT_EQ(files[0].find("a")->bytes.data(), view.bytes.data());
}

TEST(Safetensors, MayHoldNothing) {
  const TestFolder folder;
  const auto file = SafetensorsFile::open(folder.put("m.safetensors", file_of("{}", "")));
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->tensors().empty());
}

TEST(Safetensors, ReadsTheGoldenFiles) {
  for (const char* name : {"cosine", "max_head"})
    for (const char* file : {"model.safetensors", "expected.safetensors"}) {
      const auto opened =
          SafetensorsFile::open(std::filesystem::path(MSA_TESTDATA) / "golden" / name / file);
      ASSERT_TRUE(opened) << opened.error().message;
      EXPECT_GT(opened->tensors().size(), 20u);
    }
}

// ---------------------------------------------------------------------------------------------

TEST(Safetensors, EveryTruncationIsAnError) {
  const TestFolder folder;
  const std::string whole = file_of(kHeader, kData);
  for (size_t length = 0; length < whole.size(); ++length) {
    const auto file = SafetensorsFile::open(folder.put("m.safetensors", whole.substr(0, length)));
    ASSERT_FALSE(file) << length;
    ASSERT_EQ(file.error().code, Code::corrupt) << file.error().message;
    ASSERT_THAT(file.error().message, HasSubstr("m.safetensors: "));
  }
}

TEST(Safetensors, DamagedHeadersNeverCrash) {
  const TestFolder folder;
  const std::string whole = file_of(kHeader, kData);
  std::mt19937 random(3);
  int refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string damaged = whole;
    const size_t within = round % 2 ? 8 + kHeader.size() : damaged.size();
    for (unsigned i = 0; i <= random() % 3; ++i) {
      char& byte = damaged[random() % within];
      byte = random() % 2 ? static_cast<char>(byte ^ (1 << random() % 8))
                          : "0123456789{}[],:\"-"[random() % 18];
    }
    const auto file = SafetensorsFile::open(folder.put("m.safetensors", damaged));
    if (!file) {
      ++refused;
      continue;
    }
    size_t sum = 0;  // what was accepted can be read
    for (const auto& [name, tensor] : file->tensors())
      for (const std::byte byte : tensor.bytes) sum += static_cast<size_t>(byte);
    ASSERT_LT(sum, 256 * damaged.size());
  }
  EXPECT_GT(refused, 2000);
}

TEST(Safetensors, HeaderLengthIsChecked) {
  expect_corrupt("", "has 0 bytes");
  expect_corrupt(little_endian(2), "claims a header of 2 bytes, 0 follow");
  expect_corrupt(little_endian(UINT64_MAX) + "{}", "18446744073709551615");
  expect_corrupt(little_endian(100'000'001) + "{}", "100000001");
  expect_corrupt(little_endian(0) + "{}", "not valid JSON");
  expect_corrupt("version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull");
}

TEST(Safetensors, HeaderMustBeTheRightJson) {
  for (const char* header :
       {"", "{", "x", "{}x", "{\"a\":}", "\xff", "{\"a\xff\":{}}", "{\"a\":1e999}"})
    expect_corrupt(file_of(header, ""), "header");
  for (const char* header : {"[]", "1", "\"a\"", "null", "true", "1.5", "-1"})
    expect_corrupt(file_of(header, ""), "out of place");
  for (const char* header : {R"({"a":1})", R"({"a":[]})", R"({"a":null})", R"({"a":"F32"})"})
    expect_corrupt(file_of(header, ""), "tensor 'a'");
  for (const char* metadata : {"1", "[]", R"({"a":1})", R"({"a":{}})", "null"})
    expect_corrupt(file_of(fmt::format(R"({{"__metadata__":{}}})", metadata), ""), "out of place");
  expect_corrupt(file_of(std::string(100'000, '['), ""), "out of place");
}

TEST(Safetensors, FieldsAreChecked) {
  const std::string rest = R"("data_offsets":[0,4])";
  expect_corrupt_tensor("", "", "no \"dtype\"");
  expect_corrupt_tensor(R"("dtype":"F32","data_offsets":[0,4])", "abcd", "no \"shape\"");
  expect_corrupt_tensor(R"("dtype":"F32","shape":[1])", "abcd", "no \"data_offsets\"");
  expect_corrupt_tensor(R"("dtype":"F32","shape":[1],"extra":1,)" + rest, "abcd", "\"extra\"");
  expect_corrupt_tensor(R"("dtype":"F32","dtype":"F32","shape":[1],)" + rest, "abcd", "twice");
  expect_corrupt_tensor(R"("dtype":3,"shape":[1],)" + rest, "abcd", "out of place");
  for (const char* shape : {"1", "[-1]", "[1.0]", "[\"1\"]", "[[1]]", "[null]", "[{}]",
                            "[99999999999999999999]", "\"1\""})
    expect_corrupt_tensor(fmt::format(R"("dtype":"F32","shape":{},{})", shape, rest), "abcd",
                          "tensor 't'");
  for (const char* offsets : {"[]", "[0]", "[0,4,4]", "[0,-4]", "4", "[0,[4]]"})
    expect_corrupt_tensor(fmt::format(R"("dtype":"F32","shape":[1],"data_offsets":{})", offsets),
                          "abcd", "tensor 't'");
}

TEST(Safetensors, SizesMustAgree) {
  const auto tensor = [](const char* shape, const char* offsets) {
    return fmt::format(R"("dtype":"F32","shape":{},"data_offsets":{})", shape, offsets);
  };
  expect_corrupt_tensor(tensor("[2]", "[0,4]"), "abcd", "needs 8 bytes, the header gives it 4");
  expect_corrupt_tensor(tensor("[]", "[0,0]"), "", "needs 4 bytes");
  expect_corrupt_tensor(tensor("[1]", "[0,8]"), "abcd", "takes bytes 0 to 8, the file has 4");
  expect_corrupt_tensor(tensor("[1]", "[4,0]"), "abcd", "takes bytes 4 to 0");
  expect_corrupt_tensor(tensor("[1]", "[18446744073709551612,18446744073709551615]"), "abcd",
                        "takes bytes 18446744073709551612");
  // 2^62 * 4 bytes is 0 modulo 2^64.
  expect_corrupt_tensor(tensor("[4611686018427387904]", "[0,0]"), "", "more than 64 bits");
  expect_corrupt_tensor(tensor("[4294967296,4294967296]", "[0,0]"), "", "more than 64 bits");
  expect_corrupt_tensor(tensor("[4294967296,4294967296,0]", "[0,0]"), "", "more than 64 bits");
}

TEST(Safetensors, TensorsMustLieSideBySide) {
  const auto two = [](uint64_t begin_a, uint64_t begin_b, size_t data) {
    return file_of(fmt::format(R"({{"a":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}},)"
                               R"("b":{{"dtype":"F32","shape":[1],"data_offsets":[{},{}]}}}})",
                               begin_a, begin_a + 4, begin_b, begin_b + 4),
                   std::string(data, 'x'));
  };
  const TestFolder folder;
  EXPECT_TRUE(SafetensorsFile::open(folder.put("m", two(0, 4, 8))));
  EXPECT_TRUE(SafetensorsFile::open(folder.put("m", two(4, 0, 8))));
  expect_corrupt(two(0, 2, 6), "tensor 'b' begins at byte 2, within tensor 'a' that ends at 4");
  expect_corrupt(two(0, 0, 4), "within tensor 'a'");
  expect_corrupt(two(0, 6, 10), "begins at byte 6, 2 bytes after");
  expect_corrupt(two(1, 5, 9), "tensor 'a' begins at byte 1, 1 bytes after");
  expect_corrupt(two(0, 4, 9), "1 bytes of data follow the last tensor 'b'");
  expect_corrupt(file_of("{}", "x"), "1 bytes of data follow a header without tensors");
}

TEST(Safetensors, NamesMustBeOnce) {
  expect_corrupt(file_of(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                         R"("a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                         "01234567"),
                 "tensor 'a' comes twice");
  expect_corrupt(file_of(R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "0123"),
                 "empty name");
  expect_corrupt(file_of(R"({"__metadata__":{},"__metadata__":{}})", ""), "metadata come twice");
}

TEST(Safetensors, OtherDtypesAreNamed) {
  const TestFolder folder;
  for (const char* dtype : {"I32", "U8", "BOOL", "F64", "F8_E4M3", "f32", ""}) {
    const auto path = folder.put(
        "m.safetensors",
        file_of(fmt::format(R"({{"the tensor":{{"dtype":"{}","shape":[2],"data_offsets":[0,8]}}}})",
                            dtype),
                "01234567"));
    const auto file = SafetensorsFile::open(path);
    ASSERT_FALSE(file) << dtype;
    EXPECT_EQ(file.error().code, Code::unsupported);
    EXPECT_THAT(file.error().message,
                AllOf(HasSubstr(path.string()), HasSubstr("'the tensor'"), HasSubstr(dtype)));
  }
}

TEST(Safetensors, UglyNamesStayOnOneLine) {
  expect_corrupt(file_of("{\"a\\nb" + std::string(5000, 'x') +
                             R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})",
                         "0123"),
                 "a?bxxx");
}

TEST(Safetensors, WhatIsNoFile) {
  const TestFolder folder;
  const auto missing = SafetensorsFile::open(folder / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_FALSE(SafetensorsFile::open(folder.path()));
}

// ---------------------------------------------------------------------------------------------

TEST(SafetensorsWriter, RandomPlansReadBack) {
  std::mt19937 random(4);
  for (int round = 0; round < 50; ++round) {
    const TestFolder folder;
    std::vector<TensorPlan> plan;
    std::vector<std::string> contents;
    for (unsigned i = 0; i < random() % 8; ++i) {
      TensorPlan tensor{fmt::format("t{}.\u00e9\"", i), static_cast<DType>(random() % 4), {}};
      size_t bytes = size_of(tensor.dtype);
      for (unsigned axis = 0; axis < random() % 4; ++axis) {
        tensor.shape.push_back(random() % 12);
        bytes *= tensor.shape.back();
      }
      std::string content(bytes, '\0');
      for (char& c : content) c = static_cast<char>(random());
      plan.push_back(tensor);
      contents.push_back(content);
    }
    const auto path = folder / "m.safetensors";
    auto writer = SafetensorsWriter::create(path, plan);
    ASSERT_TRUE(writer) << writer.error().message;
    for (const std::string& content : contents)
      for (std::string_view rest = content; !rest.empty();) {
        const size_t piece = 1 + random() % rest.size();
        ASSERT_TRUE(writer->append(bytes_of(rest.substr(0, piece))));
        rest.remove_prefix(piece);
      }
    EXPECT_FALSE(std::filesystem::exists(path));
    ASSERT_TRUE(writer->commit());

    const auto file = SafetensorsFile::open(path);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_EQ(file->tensors().size(), plan.size());
    for (size_t i = 0; i < plan.size(); ++i) {
      const auto tensor = file->find(plan[i].name);
      ASSERT_TRUE(tensor);
      EXPECT_EQ(tensor->dtype, plan[i].dtype);
      EXPECT_EQ(tensor->shape, plan[i].shape);
      EXPECT_EQ(text_of(tensor->bytes), contents[i]);
    }
  }
}

TEST(SafetensorsWriter, DataAreAlignedAndMarkedForPython) {
  const TestFolder folder;
  const auto path = folder / "m.safetensors";
  auto writer = SafetensorsWriter::create(path, {{"t", DType::f32, {1}}});
  ASSERT_TRUE(writer && writer->append(bytes_of("abcd")) && writer->commit());
  const std::string bytes = TestFolder::get(path);
  EXPECT_EQ((bytes.size() - 4) % 64, 0u);
  EXPECT_THAT(bytes, HasSubstr(R"("__metadata__":{"format":"pt"})"));
}

TEST(SafetensorsWriter, HoldsToThePlan) {
  const std::vector<TensorPlan> plan = {{"a", DType::f32, {1}}, {"b", DType::bf16, {2}}};
  const TestFolder folder;
  const auto path = folder / "m.safetensors";
  const auto expect_refused = [&](std::vector<std::string_view> pieces, const std::string& part) {
    {
      auto writer = SafetensorsWriter::create(path, plan);
      ASSERT_TRUE(writer);
      Result<void> last;
      for (const std::string_view piece : pieces) last = writer->append(bytes_of(piece));
      const auto committed = writer->commit();
      ASSERT_FALSE(committed);
      EXPECT_THAT(committed.error().message, AllOf(HasSubstr(path.string()), HasSubstr(part)));
    }
    EXPECT_EQ(folder.entries(), 0u);
  };
  expect_refused({}, "tensor 'a' was planned with 4 bytes and is given only 0");
  expect_refused({"0123", "45"}, "tensor 'b' was planned with 4 bytes and is given only 2");
  expect_refused({"01234"}, "tensor 'a' was planned with 4 bytes and is given 5");
  expect_refused({"0123", "4567", "8"}, "1 bytes more than planned");
  expect_refused({"01234", "0123", "4567"}, "tensor 'a'");  // a failure stays one
}

TEST(SafetensorsWriter, RefusesPlansThatCannotBe) {
  const TestFolder folder;
  const auto path = folder / "m.safetensors";
  for (const std::vector<TensorPlan>& plan :
       {std::vector<TensorPlan>{{"a", DType::f32, {1}}, {"a", DType::f32, {1}}},
        {{"", DType::f32, {1}}},
        {{"__metadata__", DType::f32, {1}}},
        {{"a", DType::f32, {size_t{1} << 62}}},
        {{"a", DType::f32, {size_t{1} << 61}}, {"b", DType::f32, {size_t{1} << 61}}}}) {
    const auto writer = SafetensorsWriter::create(path, plan);
    ASSERT_FALSE(writer);
    EXPECT_EQ(writer.error().code, Code::invalid_argument);
  }
  EXPECT_EQ(folder.entries(), 0u);
  EXPECT_FALSE(SafetensorsWriter::create(folder / "no/such/m.safetensors", {}));
}

}  // namespace
}  // namespace msa
