// The codecs against linears that other packers wrote: the same weights, and the same bytes back. See README.md.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "file/json.h"
#include "formats/codec.h"
#include "formats/test_support.h"
#include "support/paths.h"

namespace awq::formats {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(AWQ_SOURCE_DIR) / "tests" / "golden" / "packed";
constexpr const char* kModule = "layer";
constexpr const char* kExpected = "expected";

/// One row of packed.json and its file, opened as the weights of a model folder.
class PackedLinear {
 public:
  explicit PackedLinear(const file::Json& row)
      : codec(find_codec(row.at("codec").get<std::string>())),
        config(row.at("quantization_config")),
        out_features(row.at("out_features")),
        in_features(row.at("in_features")) {
    const std::string file_name = row.at("name").get<std::string>() + ".safetensors";
    std::filesystem::copy_file(kFolder / file_name, folder_ / "model.safetensors");
    checkpoint = Checkpoint::open(folder_.path());
  }

  quant::QuantizedTensor decode() const {
    return codec->decode(checkpoint, kModule, codec->read_config(config, "packed.json"), out_features, in_features);
  }

  const Codec* codec;
  file::Json config;
  std::uint64_t out_features;
  std::uint64_t in_features;
  Checkpoint checkpoint;

 private:
  test::TempFolder folder_;
};

template <typename Check>
void for_each_linear(Check check) {
  const file::Json rows = file::read_json_file(kFolder / "packed.json").at("files");
  EXPECT_EQ(rows.size(), 4U);
  for (const file::Json& row : rows) {
    SCOPED_TRACE(row.at("name").get<std::string>());
    const PackedLinear linear(row);
    ASSERT_NE(linear.codec, nullptr);
    check(linear);
  }
}

TEST(Packed, ConfigBelongsToTheCodec) {
  for_each_linear([](const PackedLinear& linear) {
    for (const Codec* codec : codecs()) EXPECT_EQ(codec->accepts(linear.config), codec == linear.codec) << codec->name;
  });
}

TEST(Packed, DequantizesToTheExpectedWeights) {
  for_each_linear([](const PackedLinear& linear) {
    const Checkpoint::Tensor& stored = linear.checkpoint.get(kExpected);
    ASSERT_EQ(stored.shape, (std::vector<std::uint64_t>{linear.out_features, linear.in_features}));
    std::vector<float> expected(linear.out_features * linear.in_features);
    linear.checkpoint.read_floats(stored, expected);

    std::vector<float> weights(expected.size());
    quant::dequantize(linear.decode(), weights.data());
    for (std::size_t i = 0; i < weights.size(); ++i) {
      ASSERT_EQ(weights[i], expected[i]) << "output " << i / linear.in_features << ", input " << i % linear.in_features;
    }
  });
}

TEST(Packed, EncodesToTheSameBytes) {
  for_each_linear([](const PackedLinear& linear) {
    const std::vector<EncodedTensor> encoded = linear.codec->encode(linear.decode());
    EXPECT_EQ(encoded.size() + 1, linear.checkpoint.tensors().size());  // and the expected weights
    for (const EncodedTensor& tensor : encoded) {
      SCOPED_TRACE(tensor.suffix);
      const Checkpoint::Tensor* stored = linear.checkpoint.find(std::string(kModule) + "." + tensor.suffix);
      ASSERT_NE(stored, nullptr);
      EXPECT_EQ(tensor.dtype, stored->dtype);
      EXPECT_EQ(tensor.shape, stored->shape);
      std::vector<std::byte> bytes(stored->size_bytes());
      linear.checkpoint.read(*stored, bytes);
      EXPECT_TRUE(tensor.bytes == bytes);
    }
  });
}

}  // namespace
}  // namespace awq::formats
