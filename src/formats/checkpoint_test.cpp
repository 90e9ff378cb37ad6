#include "formats/checkpoint.h"

#include <sys/stat.h>

#include "base/float16.h"
#include "formats/checkpoint_index.h"
#include "formats/test_support.h"

namespace awq::formats {
namespace {

using namespace test;

constexpr const char* kIndex = "model.safetensors.index.json";

NamedTensor floats(const char* name, std::vector<float> values) {
  const std::uint64_t count = values.size();
  return named(name, DType::kF32, {count}, values);
}

/// A folder with a and b in the first shard, c in the second.
void write_two_shards(const TempFolder& folder, std::string_view index) {
  write_safetensors(folder / "s1.safetensors", {floats("a", {1, 2}), floats("b", {3})});
  write_safetensors(folder / "s2.safetensors", {floats("c", {4, 5, 6})});
  write_bytes(folder / kIndex, index);
}

std::string refused(const TempFolder& folder, ErrorCode code = ErrorCode::kCorruptFile) {
  const std::string text = error_of(code, [&] { Checkpoint::open(folder.path()); });
  expect_parts(text, {folder.path().string()});
  return text;
}

TEST(Checkpoint, OneFile) {
  const TempFolder folder;
  const std::vector<std::uint16_t> halves = {to_f16(0.5F).bits, to_f16(-2.0F).bits};
  const std::vector<std::uint16_t> brains = {to_bf16(3.0F).bits};
  write_safetensors(folder / "model.safetensors",
                    {floats("x", {1, 2, 3}), named("h", DType::kF16, {2}, halves),
                     named("b", DType::kBf16, {1}, brains), named<std::int32_t>("i", DType::kI32, {1}, {7})});
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  std::vector<std::string> names;
  for (const Checkpoint::Tensor& tensor : checkpoint.tensors()) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"b", "h", "i", "x"}));
  EXPECT_EQ(checkpoint.total_bytes(), 12U + 4U + 2U + 4U);
  EXPECT_EQ(checkpoint.find("nothing"), nullptr);
  expect_parts(error_of(ErrorCode::kCorruptFile, [&] { checkpoint.get("nothing"); }),
               {folder.path().string(), "\"nothing\""});
  std::vector<float> values(2);
  checkpoint.read_floats(checkpoint.get("x"), values, 1);
  EXPECT_EQ(values, (std::vector<float>{2, 3}));
  checkpoint.read_floats(checkpoint.get("h"), values);
  EXPECT_EQ(values, (std::vector<float>{0.5F, -2.0F}));
  checkpoint.read_floats(checkpoint.get("b"), std::span(values).first(1));
  EXPECT_EQ(values[0], 3.0F);
  expect_parts(error_of(ErrorCode::kCorruptFile, [&] { checkpoint.read_floats(checkpoint.get("i"), values); }),
               {"model.safetensors", "\"i\"", "I32"});
  std::vector<std::byte> byte(1);
  checkpoint.read(checkpoint.get("i"), byte);
  EXPECT_EQ(static_cast<int>(byte[0]), 7);
  error_of(ErrorCode::kInternal, [&] { checkpoint.read(checkpoint.get("i"), byte, 4); });
}

TEST(Checkpoint, LargeHalvesAreReadInPieces) {
  const TempFolder folder;
  std::vector<std::uint16_t> stored(700'001);
  for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::uint16_t>(i % 0x7000);
  const std::uint64_t count = stored.size();
  write_safetensors(folder / "model.safetensors", {named("h", DType::kBf16, {count}, stored)});
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  std::vector<float> values(stored.size() - 5);
  checkpoint.read_floats(checkpoint.get("h"), values, 5);
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], to_float(Bf16{stored[i + 5]}));
}

TEST(Checkpoint, ShardsAndATensorThatTheIndexLeavesOut) {
  const TempFolder folder;
  write_two_shards(folder, R"({"metadata":{"total_size":1},"weight_map":{"a":"s1.safetensors","c":"s2.safetensors"}})");
  write_safetensors(folder / "unused.safetensors", {floats("a", {9})});  // a file that the index does not name
  Checkpoint checkpoint = Checkpoint::open(folder.path());
  const Checkpoint moved = std::move(checkpoint);
  EXPECT_EQ(moved.files().size(), 2U);
  EXPECT_EQ(moved.tensors().size(), 3U);
  std::vector<float> values(3);
  moved.read_floats(moved.get("c"), values);
  EXPECT_EQ(values, (std::vector<float>{4, 5, 6}));
  EXPECT_NE(moved.find("b"), nullptr);
}

TEST(Checkpoint, NoWeights) {
  const TempFolder folder;
  expect_parts(error_of(ErrorCode::kNotFound, [&] { Checkpoint::open(folder / "none"); }), {"none", "no such folder"});
  expect_parts(refused(folder, ErrorCode::kNotFound), {"model.safetensors"});
  write_bytes(folder / "pytorch_model.bin", "x");
  expect_parts(refused(folder, ErrorCode::kNotFound), {"pytorch_model.bin", "convert to safetensors first"});
}

TEST(Checkpoint, WeightsThatAreNoRegularFile) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "model.safetensors");
  refused(folder, ErrorCode::kNotFound);
  std::filesystem::remove(folder / "model.safetensors");
  ASSERT_EQ(mkfifo((folder / "model.safetensors").c_str(), 0600), 0);
  refused(folder, ErrorCode::kNotFound);  // and does not hang
  write_bytes(folder / kIndex, R"({"weight_map":{"a":"model.safetensors"}})");
  expect_parts(refused(folder), {"no regular file"});
}

TEST(Checkpoint, MissingShard) {
  const TempFolder folder;
  write_two_shards(folder, R"({"weight_map":{"a":"s1.safetensors","c":"s3.safetensors"}})");
  expect_parts(refused(folder), {kIndex, "s3.safetensors", "missing"});
}

TEST(Checkpoint, TensorMissingInItsShard) {
  const TempFolder folder;
  write_two_shards(folder, R"({"weight_map":{"a":"s1.safetensors","d":"s2.safetensors"}})");
  expect_parts(refused(folder), {kIndex, "\"d\"", "s2.safetensors"});
  write_bytes(folder / kIndex, R"({"weight_map":{"a":"s2.safetensors","c":"s2.safetensors","b":"s1.safetensors"}})");
  expect_parts(refused(folder), {kIndex, "\"a\"", "s2.safetensors"});
}

TEST(Checkpoint, TensorInTwoShards) {
  const TempFolder folder;
  write_two_shards(folder, R"({"weight_map":{"a":"s1.safetensors","c":"s2.safetensors"}})");
  write_safetensors(folder / "s2.safetensors", {floats("c", {1}), floats("b", {1})});
  expect_parts(refused(folder), {"\"b\"", "s1.safetensors", "s2.safetensors"});
}

TEST(Checkpoint, IndexAndASingleFileThatItDoesNotName) {
  const TempFolder folder;
  write_two_shards(folder, R"({"weight_map":{"a":"s1.safetensors","c":"s2.safetensors"}})");
  write_safetensors(folder / "model.safetensors", {floats("a", {1})});
  expect_parts(refused(folder), {kIndex, "model.safetensors", "remove one"});
  write_bytes(folder / kIndex, R"({"weight_map":{"a":"model.safetensors"}})");
  EXPECT_EQ(Checkpoint::open(folder.path()).tensors().size(), 1U);
}

TEST(Checkpoint, CorruptShardNamesItself) {
  const TempFolder folder;
  write_two_shards(folder, R"({"weight_map":{"a":"s1.safetensors","c":"s2.safetensors"}})");
  std::filesystem::resize_file(folder / "s2.safetensors", std::filesystem::file_size(folder / "s2.safetensors") - 1);
  expect_parts(refused(folder), {"s2.safetensors", "\"c\""});
}

TEST(Checkpoint, LinksToFilesWorkAsInTheHubCache) {
  const TempFolder blobs;
  const TempFolder folder;
  write_safetensors(blobs / "blob", {floats("a", {1})});
  std::filesystem::create_symlink(blobs / "blob", folder / "model.safetensors");
  EXPECT_EQ(Checkpoint::open(folder.path()).tensors().size(), 1U);
}

TEST(Checkpoint, FingerprintAndChanges) {
  const TempFolder folder;
  const auto path = folder / "model.safetensors";
  write_safetensors(path, {floats("a", {1, 2})});
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  const std::string fingerprint = checkpoint.fingerprint();
  EXPECT_EQ(fingerprint.size(), 64U);
  EXPECT_EQ(Checkpoint::open(folder.path()).fingerprint(), fingerprint);
  checkpoint.check_unchanged();
  std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
  EXPECT_NE(Checkpoint::open(folder.path()).fingerprint(), fingerprint);
  expect_parts(error_of(ErrorCode::kCorruptFile, [&] { checkpoint.check_unchanged(); }), {"model.safetensors"});
}

TEST(Checkpoint, AFileThatShrinksWhileOpenIsAnError) {
  const TempFolder folder;
  write_safetensors(folder / "model.safetensors", {floats("a", {1, 2})});
  const Checkpoint checkpoint = Checkpoint::open(folder.path());
  std::filesystem::resize_file(folder / "model.safetensors", 20);
  std::vector<float> values(2);
  error_of(ErrorCode::kCorruptFile, [&] { checkpoint.read_floats(checkpoint.get("a"), values); });
}

class BadIndex : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(BadIndex, IsRefused) {
  const auto& [json, part] = GetParam();
  const std::string text = error_of(ErrorCode::kCorruptFile, [json = json] { parse_checkpoint_index(json, "index"); });
  expect_parts(text, {"index: ", part});
}

INSTANTIATE_TEST_SUITE_P(
    Checkpoint, BadIndex,
    testing::Values(std::pair{"", "not valid JSON"}, std::pair{"[]", "not a JSON object"},
                    std::pair{"{}", "weight_map is missing"}, std::pair{R"({"weight_map":[]})", "weight_map"},
                    std::pair{R"({"weight_map":{}})", "weight_map is empty"},
                    std::pair{R"({"weight_map":{"a":1}})", "weight_map[\"a\"] is not a string"},
                    std::pair{R"({"weight_map":{"a":""}})", "is empty"},
                    std::pair{R"({"weight_map":{"a":"../x.safetensors"}})", "path separator"},
                    std::pair{R"({"weight_map":{"a":"/etc/x.safetensors"}})", "path separator"},
                    std::pair{R"({"weight_map":{"a":"d\\x.safetensors"}})", "path separator"},
                    std::pair{R"({"weight_map":{"a":".."}})", "\"..\""},
                    std::pair{R"({"weight_map":{"a":"x\u0000.safetensors"}})", "zero byte"},
                    std::pair{R"({"weight_map":{"a":"x.bin"}})", ".safetensors"},
                    std::pair{R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})", "twice"}));

TEST(Checkpoint, FileNameOfAnyLengthInTheIndex) {
  const std::string json = R"({"weight_map":{"a":")" + std::string(300, 'x') + R"(.safetensors"}})";
  expect_parts(error_of(ErrorCode::kCorruptFile, [&] { parse_checkpoint_index(json, "index"); }), {"too long"});
}

}  // namespace
}  // namespace awq::formats
