// GGUF types against the bytes that llama.cpp's reference makes (make_gguf_blocks.py).

#include "quant/gguf_blocks.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "formats/test_support.h"
#include "support/paths.h"

namespace awq::quant {
namespace {

constexpr GgufType kTypes[] = {GgufType::kQ4_0, GgufType::kQ4_1, GgufType::kQ5_0, GgufType::kQ5_1,
                               GgufType::kQ8_0, GgufType::kQ4K,  GgufType::kQ5K,  GgufType::kQ6K};

class GgufBlocks : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy_file(
        std::filesystem::path(AWQ_SOURCE_DIR) / "tests" / "golden" / "gguf" / "blocks.safetensors",
        folder_ / "model.safetensors");
    checkpoint_ = formats::Checkpoint::open(folder_.path());
    x_ = floats("x");
  }
  std::vector<float> floats(const std::string& name) const {
    const auto& tensor = checkpoint_.get(name);
    std::vector<float> out(tensor.elements());
    checkpoint_.read_floats(tensor, out);
    return out;
  }
  std::vector<std::uint8_t> bytes(const std::string& name) const {
    std::vector<std::uint8_t> out(checkpoint_.get(name).size_bytes());
    checkpoint_.read(checkpoint_.get(name), std::as_writable_bytes(std::span(out)));
    return out;
  }

  formats::test::TempFolder folder_;
  formats::Checkpoint checkpoint_;
  std::vector<float> x_;
};

TEST_F(GgufBlocks, BytesAreThoseOfTheReference) {
  ASSERT_EQ(x_.size() % 256, 0U);
  for (const GgufType type : kTypes) {
    SCOPED_TRACE(gguf_block(type).name);
    std::vector<std::uint8_t> made(gguf_row_bytes(type, x_.size()));
    gguf_quantize_row(type, x_, made);
    const std::vector<std::uint8_t> expected = bytes(gguf_block(type).name);
    ASSERT_EQ(made.size(), expected.size());
    std::size_t different = 0;
    for (std::size_t i = 0; i < made.size(); ++i) different += made[i] != expected[i] ? 1 : 0;
    EXPECT_EQ(different, 0U) << "of " << made.size() << " bytes";
  }
}

TEST_F(GgufBlocks, ValuesAreThoseOfTheReference) {
  for (const GgufType type : kTypes) {
    SCOPED_TRACE(gguf_block(type).name);
    std::vector<float> values(x_.size());
    gguf_dequantize_row(type, bytes(gguf_block(type).name), values);
    std::vector<float> in_place = x_;
    gguf_round_trip(type, in_place);
    EXPECT_EQ(in_place, values);
    // The file holds every fourth row.
    const std::vector<float> expected = floats(std::string(gguf_block(type).name) + ".values");
    ASSERT_GE(expected.size(), 4U * 256);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(values[i / 256 * 4 * 256 + i % 256], expected[i]) << "element " << i;
    }
  }
}

}  // namespace
}  // namespace awq::quant
