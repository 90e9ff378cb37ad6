#include <gtest/gtest.h>

#include "formats/codec_test_support.h"
#include "quant/pack_bits.h"

namespace awq::formats {
namespace {

using namespace test;

constexpr std::uint64_t kOutputs = 64;
constexpr std::uint64_t kInputs = 96;

const Codec& codec() { return *find_codec("gptq"); }

QuantizationInfo info_of(int bits, bool zero_offset_by_one, bool symmetric = false) {
  QuantizationInfo info;
  info.scheme = {.bits = bits, .group_size = 32, .symmetric = symmetric};
  info.zero_offset_by_one = zero_offset_by_one;
  return info;
}

/// One code into a stream of codes that run along dimension `position` of an array of words with `stride`.
void put_code(std::vector<std::uint32_t>& words, std::uint64_t start, std::uint64_t stride, int bits,
              std::uint64_t position, std::uint32_t code) {
  for (int b = 0; b < bits; ++b) {
    const std::uint64_t bit = position * static_cast<std::uint64_t>(bits) + static_cast<std::uint64_t>(b);
    words[start + bit / 32 * stride] |= ((code >> b) & 1U) << (bit % 32);
  }
}

/// The slow packer: `tensor` as GPTQ stores it, with `offset` taken from every zero point.
ModuleFolder stored(const quant::QuantizedTensor& tensor, int offset) {
  const int bits = tensor.scheme.bits;
  const std::uint64_t groups = tensor.groups();
  std::vector<std::uint32_t> codes(quant::packed_words(bits, kInputs) * kOutputs);
  const std::uint64_t row_words = quant::packed_words(bits, kOutputs);
  std::vector<std::uint32_t> zeros(groups * row_words);
  std::vector<float> scales(groups * kOutputs);
  for (std::uint64_t n = 0; n < kOutputs; ++n) {
    for (std::uint64_t k = 0; k < kInputs; ++k) put_code(codes, n, kOutputs, bits, k, tensor.codes[n * kInputs + k]);
    for (std::uint64_t g = 0; g < groups; ++g) {
      const int zero = tensor.zero_points[n * groups + g] - offset;
      put_code(zeros, g * row_words, 1, bits, n, static_cast<std::uint32_t>(zero));
      scales[g * kOutputs + n] = tensor.scales[n * groups + g];
    }
  }
  return ModuleFolder({named("m.qweight", DType::kI32, {quant::packed_words(bits, kInputs), kOutputs}, codes),
                       named("m.qzeros", DType::kI32, {groups, row_words}, zeros),
                       named("m.scales", DType::kF32, {groups, kOutputs}, scales)});
}

quant::QuantizedTensor example(int bits, bool symmetric, int lowest_zero = 0) {
  std::mt19937 random(7);
  quant::QuantizedTensor tensor = random_tensor({.out_features = kOutputs,
                                                 .in_features = kInputs,
                                                 .scheme = {.bits = bits, .group_size = 32, .symmetric = symmetric},
                                                 .scale_dtype = DType::kF32},
                                                random);
  for (std::uint8_t& zero : tensor.zero_points)
    zero = std::max<std::uint8_t>(zero, static_cast<std::uint8_t>(lowest_zero));
  return tensor;
}

quant::QuantizedTensor decode(const ModuleFolder& folder, const QuantizationInfo& info) {
  const Checkpoint checkpoint = folder.open();
  return codec().decode(checkpoint, "m", info, kOutputs, kInputs);
}

std::string refused(const ModuleFolder& folder, const QuantizationInfo& info) {
  return error_of(ErrorCode::kCorruptFile, [&] { decode(folder, info); });
}

TEST(Gptq, AllBitsAndBothVersions) {
  for (const int bits : {2, 3, 4, 8}) {
    const quant::QuantizedTensor tensor = example(bits, false, 1);  // version 1 cannot hold zero point 0
    expect_same_weights(decode(stored(tensor, 1), info_of(bits, true)), tensor);
    expect_same_weights(decode(stored(tensor, 0), info_of(bits, false)), tensor);
  }
}

TEST(Gptq, StoredZeroPlusOneMayReachTwoToTheBits) {
  quant::QuantizedTensor tensor = example(4, false, 1);
  ModuleFolder folder = stored(tensor, 1);
  const std::uint32_t ones = 0xFFFFFFFFU;
  std::memcpy(folder["qzeros"].bytes.data(), &ones, 4);
  EXPECT_EQ(decode(folder, info_of(4, true)).zero_points[0], 16);
  tensor = example(8, false, 1);
  folder = stored(tensor, 1);
  std::memcpy(folder["qzeros"].bytes.data(), &ones, 4);
  expect_parts(refused(folder, info_of(8, true)), {"m.qzeros", "256"});
}

// Symmetric weights tell which version they are, whatever the label says.
TEST(Gptq, WrongVersionLabelOfSymmetricWeights) {
  for (const int bits : {2, 3, 4, 8}) {
    const quant::QuantizedTensor tensor = example(bits, true);
    for (const int offset : {0, 1}) {
      for (const bool label : {false, true}) {
        const quant::QuantizedTensor decoded = decode(stored(tensor, offset), info_of(bits, label, true));
        expect_same_weights(decoded, tensor);
        EXPECT_TRUE(decoded.scheme.symmetric);
      }
    }
  }
}

TEST(Gptq, SymmetricLabelOnAsymmetricWeights) {
  const quant::QuantizedTensor tensor = example(4, false, 1);
  const quant::QuantizedTensor decoded = decode(stored(tensor, 1), info_of(4, true, true));
  expect_same_weights(decoded, tensor);
  EXPECT_FALSE(decoded.scheme.symmetric);
}

TEST(Gptq, GroupIndex) {
  const quant::QuantizedTensor tensor = example(4, false, 1);
  ModuleFolder folder = stored(tensor, 1);
  std::vector<std::int32_t> index(kInputs);
  for (std::size_t k = 0; k < kInputs; ++k) index[k] = static_cast<std::int32_t>(k / 32);
  folder.tensors.push_back(named("m.g_idx", DType::kI32, {kInputs}, index));
  EXPECT_TRUE(decode(folder, info_of(4, true)).group_index.empty());  // in order: nothing to store

  std::swap(index[0], index[95]);
  folder["g_idx"] = named("m.g_idx", DType::kI32, {kInputs}, index);
  const quant::QuantizedTensor decoded = decode(folder, info_of(4, true));
  EXPECT_EQ(decoded.group_index, index);
  std::vector<float> weights(kInputs);
  quant::dequantize_rows(decoded, 0, 1, weights.data());
  EXPECT_EQ(weights[0], tensor.scales[2] * static_cast<float>(tensor.codes[0] - tensor.zero_points[2]));

  index[1] = -1;
  folder["g_idx"] = named("m.g_idx", DType::kI32, {kInputs}, index);
  expect_parts(refused(folder, info_of(4, true)), {"m.g_idx", "input 1 is in group -1, expected 0 to 2"});
}

TEST(Gptq, ActOrderWithoutGroupIndex) {
  QuantizationInfo info = info_of(4, true);
  info.needs_group_index = true;
  expect_parts(refused(stored(example(4, false, 1), 1), info), {"m.g_idx", "missing"});
}

TEST(GptqHostile, MissingTensorsAndShapes) {
  const quant::QuantizedTensor tensor = example(4, false, 1);
  for (const char* suffix : {"qweight", "qzeros", "scales"}) {
    ModuleFolder folder = stored(tensor, 1);
    folder.remove(suffix);
    expect_parts(refused(folder, info_of(4, true)), {std::string("m.") + suffix, "missing"});
  }
  ModuleFolder folder = stored(tensor, 1);
  folder["qzeros"].spec.shape = {8, 3};
  expect_parts(refused(folder, info_of(4, true)), {"m.qzeros", "shape [8, 3], expected [3, 8]"});
  folder = stored(tensor, 1);
  expect_parts(refused(folder, info_of(3, true)), {"m.qweight", "shape [12, 64], expected [9, 64]", "3 bits"});
  const Checkpoint checkpoint = folder.open();
  expect_parts(error_of(ErrorCode::kCorruptFile,
                        [&] { codec().decode(checkpoint, "m", info_of(4, true), kOutputs - 8, kInputs); }),
               {"m.qweight", "multiples of 32"});
}

TEST(Gptq, OnlyRead) {
  EXPECT_NE(codec().refuses({}, 128, 128), nullptr);
  error_of(ErrorCode::kUnsupported, [] { codec().encode(example(4, false)); });
  error_of(ErrorCode::kUnsupported, [] { codec().encoded_specs({}, DType::kF16, 128, 128); });
  error_of(ErrorCode::kUnsupported, [] { codec().write_config({}); });
}

}  // namespace
}  // namespace awq::formats
