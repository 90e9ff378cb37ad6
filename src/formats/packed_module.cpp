#include "formats/packed_module.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "tensor/convert.h"

namespace awq::formats {

PackedModule::PackedModule(const Checkpoint& checkpoint, std::string module, const quant::Scheme& scheme,
                           std::uint64_t out_features, std::uint64_t in_features)
    : checkpoint_(checkpoint),
      module_(std::move(module)),
      scheme_(scheme),
      out_features_(out_features),
      in_features_(in_features),
      groups_(0) {
  if (out_features == 0 || in_features == 0) {
    fail(ErrorCode::kCorruptFile, "{}: module \"{}\": shape [{}, {}] has no weights", checkpoint.folder().string(),
         printable(module_), out_features, in_features);
  }
  if (const char* reason = refuses_groups(scheme, in_features)) {
    fail(ErrorCode::kCorruptFile, "{}: module \"{}\" of shape [{}, {}]: {} ({})", checkpoint.folder().string(),
         printable(module_), out_features, in_features, reason, scheme.group_size);
  }
  groups_ = in_features / quant::resolved_group_size(scheme, in_features);
}

quant::QuantizedTensor PackedModule::make_tensor() const {
  quant::QuantizedTensor tensor;
  tensor.out_features = out_features_;
  tensor.in_features = in_features_;
  tensor.scheme = scheme_;
  tensor.codes = AlignedBuffer<std::uint8_t>(out_features_ * in_features_);
  tensor.scales = AlignedBuffer<float>(out_features_ * groups_);
  tensor.zero_points = AlignedBuffer<std::uint8_t>(out_features_ * groups_);
  return tensor;
}

std::string PackedModule::tensor_name(const char* suffix) const { return module_ + "." + suffix; }

const Checkpoint::Tensor* PackedModule::find(const char* suffix) const { return checkpoint_.find(tensor_name(suffix)); }

void PackedModule::corrupt(const char* suffix, const std::string& what) const {
  const Checkpoint::Tensor* tensor = find(suffix);
  const auto& path = tensor != nullptr ? checkpoint_.files().at(tensor->file).path() : checkpoint_.folder();
  fail(ErrorCode::kCorruptFile, "{}: tensor \"{}\": {}", path.string(), printable(tensor_name(suffix)), what);
}

const Checkpoint::Tensor& PackedModule::expect(const char* suffix, std::initializer_list<DType> dtypes,
                                               const std::vector<std::uint64_t>& shape) const {
  const Checkpoint::Tensor& tensor = checkpoint_.get(tensor_name(suffix));
  if (std::find(dtypes.begin(), dtypes.end(), tensor.dtype) == dtypes.end()) {
    std::vector<std::string_view> names;
    for (const DType dtype : dtypes) names.push_back(dtype_name(dtype));
    corrupt(suffix, fmt::format("dtype {}, expected {}", dtype_name(tensor.dtype), fmt::join(names, " or ")));
  }
  if (tensor.shape != shape) {
    corrupt(suffix, fmt::format("shape {}, expected {} (out_features {}, in_features {}, {} bits, group_size {})",
                                shape_string(tensor.shape), shape_string(shape), out_features_, in_features_,
                                scheme_.bits, scheme_.group_size));
  }
  return tensor;
}

AlignedBuffer<std::uint32_t> PackedModule::read_words(const char* suffix,
                                                      const std::vector<std::uint64_t>& shape) const {
  const Checkpoint::Tensor& stored = expect(suffix, {DType::kI32}, shape);
  AlignedBuffer<std::uint32_t> words(stored.elements());
  checkpoint_.read(stored, std::as_writable_bytes(words.span()));
  return words;
}

void PackedModule::read_scales(const char* suffix, bool groups_first, quant::QuantizedTensor& tensor) const {
  const std::vector<std::uint64_t> shape = groups_first ? std::vector<std::uint64_t>{groups_, out_features_}
                                                        : std::vector<std::uint64_t>{out_features_, groups_};
  const Checkpoint::Tensor& stored = expect(suffix, {DType::kF16, DType::kBf16, DType::kF32}, shape);
  tensor.scale_dtype = stored.dtype;
  if (groups_first) {
    AlignedBuffer<float> as_stored(tensor.scales.size());
    checkpoint_.read_floats(stored, as_stored.span());
    transpose(as_stored.data(), groups_, out_features_, tensor.scales.data());
  } else {
    checkpoint_.read_floats(stored, tensor.scales.span());
  }
  for (std::uint64_t i = 0; i < tensor.scales.size(); ++i) {
    if (!std::isfinite(tensor.scales[i])) {
      corrupt(suffix,
              fmt::format("the scale of output {}, group {} is {}", i / groups_, i % groups_, tensor.scales[i]));
    }
  }
}

std::vector<std::int32_t> PackedModule::read_group_index(const char* suffix) const {
  const Checkpoint::Tensor& stored = expect(suffix, {DType::kI32}, {in_features_});
  std::vector<std::int32_t> index(static_cast<std::size_t>(in_features_));
  checkpoint_.read(stored, std::as_writable_bytes(std::span(index)));
  const std::uint64_t group_size = quant::resolved_group_size(scheme_, in_features_);
  bool in_order = true;
  for (std::size_t k = 0; k < index.size(); ++k) {
    if (index[k] < 0 || static_cast<std::uint64_t>(index[k]) >= groups_) {
      corrupt(suffix, fmt::format("input {} is in group {}, expected 0 to {}", k, index[k], groups_ - 1));
    }
    in_order = in_order && static_cast<std::uint64_t>(index[k]) == k / group_size;
  }
  if (in_order) index.clear();
  return index;
}

const char* refuses_groups(const quant::Scheme& scheme, std::uint64_t in_features) {
  if (scheme.group_size == 0 || scheme.group_size < -1) return "the group size is not -1 or a number above 0";
  if (in_features == 0) return "in_features is 0";
  if (in_features % quant::resolved_group_size(scheme, in_features) != 0) {
    return "in_features is not a multiple of the group size";
  }
  return nullptr;
}

void check_encodable(const quant::QuantizedTensor& tensor, const char* format) {
  const quant::Scheme& scheme = tensor.scheme;
  AWQ_CHECK(tensor.out_features > 0 && refuses_groups(scheme, tensor.in_features) == nullptr);
  AWQ_CHECK(scheme.bits >= 1 && scheme.bits <= 8 && is_float_weight(tensor.scale_dtype));
  AWQ_CHECK(tensor.codes.size() == tensor.out_features * tensor.in_features);
  AWQ_CHECK(tensor.scales.size() == tensor.out_features * tensor.groups());
  AWQ_CHECK(tensor.zero_points.size() == tensor.scales.size());
  if (!tensor.group_index.empty()) {
    fail(ErrorCode::kUnsupported, "the {} format cannot store groups that do not follow the order of the inputs",
         format);
  }
  const unsigned limit = 1U << scheme.bits;
  const unsigned middle = limit / 2;
  for (const std::uint8_t code : tensor.codes) AWQ_CHECK(code < limit);
  for (const std::uint8_t zero_point : tensor.zero_points) {
    if (zero_point >= limit) {
      fail(ErrorCode::kUnsupported, "the {} format cannot store the zero point {} in {} bits", format, zero_point,
           scheme.bits);
    }
    AWQ_CHECK(!scheme.symmetric || zero_point == middle);
  }
  for (const float scale : tensor.scales) AWQ_CHECK(std::isfinite(scale));
}

EncodedTensor encode_words(std::string suffix, std::vector<std::uint64_t> shape, std::span<const std::uint32_t> words) {
  EncodedTensor encoded{std::move(suffix), DType::kI32, std::move(shape), {}};
  const std::span<const std::byte> bytes = std::as_bytes(words);
  encoded.bytes.assign(bytes.begin(), bytes.end());
  return encoded;
}

EncodedTensor encode_scales(std::string suffix, const quant::QuantizedTensor& tensor, bool groups_first) {
  const std::uint64_t groups = tensor.groups();
  std::vector<float> ordered(tensor.scales.begin(), tensor.scales.end());
  if (groups_first) transpose(tensor.scales.data(), tensor.out_features, groups, ordered.data());
  EncodedTensor encoded{std::move(suffix), tensor.scale_dtype, {}, {}};
  encoded.shape = groups_first ? std::vector<std::uint64_t>{groups, tensor.out_features}
                               : std::vector<std::uint64_t>{tensor.out_features, groups};
  encoded.bytes.resize(ordered.size() * (dtype_bits(tensor.scale_dtype) / 8));
  narrow_from_float(tensor.scale_dtype, ordered, encoded.bytes);
  // The scales must already be what the file can hold: otherwise the codes were chosen for other values.
  std::vector<float> stored(ordered.size());
  widen_to_float(tensor.scale_dtype, encoded.bytes, stored);
  AWQ_CHECK(std::memcmp(stored.data(), ordered.data(), stored.size() * sizeof(float)) == 0);
  return encoded;
}

}  // namespace awq::formats
