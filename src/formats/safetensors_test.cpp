#include "formats/safetensors.h"

#include <random>

#include "formats/test_support.h"

namespace awq::formats {
namespace {

using namespace test;

SafetensorsHeader parse(const std::string& file) {
  return parse_safetensors_header(file, file.size(), "m.safetensors");
}

/// The message for a file with this header and so many bytes of data.
std::string refused(std::string_view json, std::size_t data_bytes = 0) {
  const std::string file = raw_safetensors(json, data_bytes);
  const std::string text = error_of(ErrorCode::kCorruptFile, [&] { parse(file); });
  expect_parts(text, {"m.safetensors"});
  return text;
}

TEST(SafetensorsReader, ReadsWhatTheFormatAllows) {
  const SafetensorsHeader header =
      parse(raw_safetensors(R"({"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16],"extra":1},)"
                            R"("__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                            R"("none":{"dtype":"U8","shape":[0,7],"data_offsets":[16,16]},)"
                            R"("sub":{"dtype":"F4","shape":[4],"data_offsets":[16,18]}}   )",
                            18));
  ASSERT_EQ(header.tensors.size(), 4U);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].elements(), 1U);
  EXPECT_EQ(header.tensors[1].name, "b");
  EXPECT_EQ(header.tensors[1].offset - header.tensors[0].offset, 4U);
  EXPECT_EQ(header.tensors[1].size_bytes(), 12U);
  EXPECT_EQ(header.tensors[2].name, "none");
  EXPECT_EQ(header.tensors[3].size_bytes(), 2U);
  EXPECT_EQ(header.metadata.at("format"), "pt");
  EXPECT_TRUE(parse(raw_safetensors("{}", 0)).tensors.empty());
}

TEST(SafetensorsReader, ShortFile) {
  for (const std::size_t size : {0, 1, 7}) {
    const std::string file(size, '\0');
    expect_parts(error_of(ErrorCode::kCorruptFile, [&] { parse(file); }), {"m.safetensors", "too short"});
  }
}

TEST(SafetensorsReader, HeaderLength) {
  std::string file = raw_safetensors("{}", 0);
  const auto with_length = [&](std::uint64_t length, std::uint64_t file_size) {
    std::memcpy(file.data(), &length, 8);
    return error_of(ErrorCode::kCorruptFile, [&] { parse_safetensors_header(file, file_size, "m"); });
  };
  expect_parts(with_length(100'000'001, 200'000'000), {"header length 100000001", "at most 100000000"});
  expect_parts(with_length(~std::uint64_t{0}, file.size()), {"header length"});
  expect_parts(with_length(3, file.size()), {"header length 3", "2 bytes"});
  expect_parts(with_length(50, 100), {"expected 50"});  // the claim fits the file, the bytes at hand do not
  expect_parts(with_length(0, file.size()), {"does not start with"});
}

TEST(SafetensorsReader, NotJson) {
  expect_parts(refused("hello"), {"does not start with"});
  expect_parts(refused(" {}"), {"does not start with"});
  expect_parts(refused("{"), {"not valid JSON"});
  expect_parts(refused("{}x"), {"not valid JSON"});
  expect_parts(refused("{\"\xff\":1}"), {"not valid JSON"});
  expect_parts(refused(R"({"a":[[[[[[[[[[1]]]]]]]]]]})"), {"nested deeper"});
}

TEST(SafetensorsReader, WrongTypes) {
  expect_parts(refused(R"({"a":1})"), {"\"a\"", "not an object"});
  expect_parts(refused(R"({"a":{"shape":[],"data_offsets":[0,0]}})"), {"\"a\"", "dtype is missing"});
  expect_parts(refused(R"({"a":{"dtype":3,"shape":[],"data_offsets":[0,0]}})"), {"\"a\"", "dtype"});
  expect_parts(refused(R"({"a":{"dtype":"F32","data_offsets":[0,0]}})"), {"\"a\"", "shape is missing"});
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":4,"data_offsets":[0,4]}})", 4), {"\"a\"", "shape"});
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), {"\"a\"", "shape"});
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4), {"\"a\"", "shape"});
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}})", 4), {"shape"});
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":[1]}})", 4), {"\"a\"", "data_offsets is missing"});
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 4), {"data_offsets"});
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":["0",4]}})", 4), {"data_offsets"});
  expect_parts(refused(R"({"__metadata__":[]})"), {"__metadata__"});
  expect_parts(refused(R"({"__metadata__":{"format":1}})"), {"__metadata__.format"});
}

TEST(SafetensorsReader, UnknownDtype) {
  expect_parts(refused(R"({"a":{"dtype":"f32","shape":[1],"data_offsets":[0,4]}})", 4), {"\"a\"", "dtype \"f32\""});
}

TEST(SafetensorsReader, HoleOverlapAndOrder) {
  const std::string hole = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                           R"("b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})";
  expect_parts(refused(hole, 5), {"\"b\"", "begin at 3, expected 2"});
  const std::string overlap = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                              R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})";
  expect_parts(refused(overlap, 3), {"\"b\"", "begin at 1, expected 2"});
  const std::string same = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                           R"("b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  expect_parts(refused(same, 2), {"\"b\""});
  expect_parts(refused(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3), {"\"a\"", "begin at 1"});
  expect_parts(refused(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}})", 2), {"\"a\"", "end before"});
}

TEST(SafetensorsReader, SizeOverflow) {
  expect_parts(refused(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"),
               {"\"a\"", "no valid size"});
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,0]}})"),
               {"\"a\"", "no valid size"});
  expect_parts(
      refused(R"({"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}})"),
      {"\"a\"", "no valid size"});
}

TEST(SafetensorsReader, OddBits) {
  expect_parts(refused(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2), {"\"a\"", "no valid size"});
}

TEST(SafetensorsReader, SizeOfTheData) {
  expect_parts(refused(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4),
               {"\"a\"", "4 bytes, expected 8", "[2]"});
}

TEST(SafetensorsReader, TruncatedOrTrailing) {
  const std::string json = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  expect_parts(refused(json, 7), {"\"a\"", "cut short"});
  expect_parts(refused(json, 9), {"9 bytes", "expected 8"});
  expect_parts(refused("{}", 1), {"1 bytes", "expected 0"});
}

TEST(SafetensorsReader, DuplicateNames) {
  const std::string entry = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  expect_parts(refused("{" + entry + "," + entry + "}"), {"\"a\"", "twice"});
}

TEST(SafetensorsReader, ZeroByteInName) {
  expect_parts(refused(R"({"a\u0000b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"), {"a\\x00b", "zero byte"});
}

TEST(SafetensorsReader, EveryPrefixOfAFileIsRefused) {
  const std::string file = safetensors_bytes({named<float>("a", DType::kF32, {2}, {1, 2})});
  for (std::size_t size = 0; size < file.size(); ++size) {
    const std::string cut = file.substr(0, size);
    error_of(ErrorCode::kCorruptFile, [&] { parse(cut); });
  }
}

TEST(SafetensorsReader, AHugeShapeIsShownInShort) {
  EXPECT_EQ(shape_string(std::vector<std::uint64_t>{4096, 32}), "[4096, 32]");
  EXPECT_EQ(shape_string({}), "[]");
  EXPECT_LT(shape_string(std::vector<std::uint64_t>(100'000, 1)).size(), 60U);
}

TEST(SafetensorsWriter, OrderAlignmentAndMetadata) {
  const SafetensorsLayout layout = plan_safetensors({{"z", DType::kF16, {3}},
                                                     {"shape", DType::kI64, {2}},
                                                     {"b", DType::kF32, {1}},
                                                     {"a\"\n", DType::kF32, {2}},
                                                     {"flag", DType::kBool, {1}}});
  std::vector<std::string> names;
  for (const StoredTensor& tensor : layout.tensors) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"shape", "a\"\n", "b", "z", "flag"}));
  EXPECT_EQ(layout.head.size() % 8, 0U);
  EXPECT_EQ(layout.head.substr(8, 33), R"({"__metadata__":{"format":"pt"},")");
  EXPECT_EQ(layout.file_size, layout.head.size() + 16 + 12 + 6 + 1);
  for (const StoredTensor& tensor : layout.tensors) EXPECT_EQ(tensor.offset % (dtype_bits(tensor.dtype) / 8), 0U);
  const SafetensorsHeader header = parse_safetensors_header(layout.head, layout.file_size, "m");
  ASSERT_EQ(header.tensors.size(), layout.tensors.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(header.tensors[i].name, names[i]);
    EXPECT_EQ(header.tensors[i].offset, layout.tensors[i].offset);
  }
}

TEST(SafetensorsWriter, NoTensors) {
  const SafetensorsLayout layout = plan_safetensors({});
  EXPECT_EQ(layout.file_size, layout.head.size());
  EXPECT_TRUE(parse_safetensors_header(layout.head, layout.file_size, "m").tensors.empty());
}

TEST(SafetensorsWriter, TheSameNameTwiceIsABug) {
  error_of(ErrorCode::kInternal, [] { plan_safetensors({{"a", DType::kU8, {1}}, {"a", DType::kF32, {1}}}); });
}

TEST(SafetensorsWriter, PlanOfAReadHeaderIsTheSamePlan) {
  std::mt19937 random(3);
  constexpr DType kTypes[] = {DType::kF32, DType::kBf16, DType::kI32, DType::kI64, DType::kU8, DType::kF16};
  std::vector<TensorSpec> specs;
  for (int i = 0; i < 2000; ++i) {
    specs.push_back(
        {"model.layers." + std::to_string(i) + ".weight", kTypes[random() % 6], {random() % 5, random() % 9}});
  }
  const SafetensorsLayout first = plan_safetensors(specs);
  const SafetensorsHeader header = parse_safetensors_header(first.head, first.file_size, "m");
  const SafetensorsLayout second = plan_safetensors({header.tensors.begin(), header.tensors.end()});
  EXPECT_EQ(first.head, second.head);
  EXPECT_EQ(first.file_size, second.file_size);
}

}  // namespace
}  // namespace awq::formats
