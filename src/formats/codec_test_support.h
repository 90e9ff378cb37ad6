#pragma once

// What the tests of the codecs share. Included by *_test.cpp only.

#include <algorithm>
#include <memory>
#include <random>

#include "formats/test_support.h"
#include "tensor/convert.h"

namespace awq::formats::test {

struct TensorOptions {
  std::uint64_t out_features = 8;
  std::uint64_t in_features = 32;
  quant::Scheme scheme;
  DType scale_dtype = DType::kF16;
};

/// Random codes and zero points of the whole range; scales that `scale_dtype` holds exactly.
inline quant::QuantizedTensor random_tensor(const TensorOptions& options, std::mt19937& random) {
  quant::QuantizedTensor tensor;
  tensor.out_features = options.out_features;
  tensor.in_features = options.in_features;
  tensor.scheme = options.scheme;
  tensor.scale_dtype = options.scale_dtype;
  const unsigned mask = (1U << options.scheme.bits) - 1;
  tensor.codes = AlignedBuffer<std::uint8_t>(options.out_features * options.in_features);
  for (std::uint8_t& code : tensor.codes) code = static_cast<std::uint8_t>(random() & mask);
  tensor.scales = AlignedBuffer<float>(options.out_features * tensor.groups());
  tensor.zero_points = AlignedBuffer<std::uint8_t>(tensor.scales.size());
  for (std::uint8_t& zero : tensor.zero_points) {
    zero = static_cast<std::uint8_t>(options.scheme.symmetric ? mask / 2 + 1 : random() & mask);
  }
  std::uniform_real_distribution<float> scale(1e-6F, 2.0F);
  for (float& value : tensor.scales) value = scale(random);
  std::vector<std::byte> narrow(tensor.scales.size() * (dtype_bits(options.scale_dtype) / 8));
  narrow_from_float(options.scale_dtype, tensor.scales.span(), narrow);
  widen_to_float(options.scale_dtype, narrow, tensor.scales.span());
  return tensor;
}

inline QuantizationSummary summary_of(const quant::Scheme& scheme, std::vector<std::string> unquantized_linears = {}) {
  QuantizationSummary summary;
  summary.scheme = scheme;
  summary.quantized_modules = {"model.layers.0.self_attn.q_proj"};
  summary.unquantized_linears = std::move(unquantized_linears);
  return summary;
}

inline std::vector<NamedTensor> module_tensors(const std::string& module, const std::vector<EncodedTensor>& encoded) {
  std::vector<NamedTensor> tensors;
  for (const EncodedTensor& tensor : encoded) tensors.push_back(named(module + "." + tensor.suffix, tensor));
  return tensors;
}

/// A model folder with one quantized module "m". Its tensors may be changed or removed before it is opened.
class ModuleFolder {
 public:
  explicit ModuleFolder(std::vector<NamedTensor> stored) : tensors(std::move(stored)) {}

  Checkpoint open() const {
    write_safetensors(*folder_ / "model.safetensors", tensors);
    return Checkpoint::open(folder_->path());
  }
  NamedTensor& operator[](std::string_view suffix) {
    return *std::find_if(tensors.begin(), tensors.end(),
                         [&](const NamedTensor& tensor) { return tensor.spec.name == "m." + std::string(suffix); });
  }
  void remove(std::string_view suffix) {
    std::erase_if(tensors, [&](const NamedTensor& tensor) { return tensor.spec.name == "m." + std::string(suffix); });
  }

  std::vector<NamedTensor> tensors;

 private:
  std::shared_ptr<TempFolder> folder_ = std::make_shared<TempFolder>();
};

template <typename T>
std::vector<T> copy_of(const AlignedBuffer<T>& buffer) {
  return {buffer.begin(), buffer.end()};
}

/// Codes, scales, zero points and shape; not the scheme's symmetric flag, which the awq format does not store.
inline void expect_same_weights(const quant::QuantizedTensor& a, const quant::QuantizedTensor& b) {
  EXPECT_EQ(a.out_features, b.out_features);
  EXPECT_EQ(a.in_features, b.in_features);
  EXPECT_EQ(a.scale_dtype, b.scale_dtype);
  EXPECT_TRUE(copy_of(a.codes) == copy_of(b.codes));
  EXPECT_TRUE(copy_of(a.scales) == copy_of(b.scales));
  EXPECT_TRUE(copy_of(a.zero_points) == copy_of(b.zero_points));
  EXPECT_TRUE(a.group_index == b.group_index);
}

inline void expect_same_encoding(const std::vector<EncodedTensor>& a, const std::vector<EncodedTensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].suffix, b[i].suffix);
    EXPECT_EQ(a[i].dtype, b[i].dtype) << a[i].suffix;
    EXPECT_EQ(a[i].shape, b[i].shape) << a[i].suffix;
    EXPECT_TRUE(a[i].bytes == b[i].bytes) << a[i].suffix;
  }
}

}  // namespace awq::formats::test
