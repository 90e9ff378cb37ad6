#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "formats/codec.h"

namespace awq::formats {

/// The stored tensors of one quantized linear [N, K], read with their dtype and shape checked: what the decoders share.
class PackedModule {
 public:
  /// Throws kCorruptFile when no linear of this shape can have this scheme.
  PackedModule(const Checkpoint& checkpoint, std::string module, const quant::Scheme& scheme,
               std::uint64_t out_features, std::uint64_t in_features);

  /// N, K, scheme and zeroed buffers of the right size. Call after the packed tensor was read: then the size is proven
  /// by bytes that are really there.
  quant::QuantizedTensor make_tensor() const;

  const Checkpoint::Tensor* find(const char* suffix) const;
  /// The tensor, with its dtype and shape checked.
  const Checkpoint::Tensor& expect(const char* suffix, std::initializer_list<DType> dtypes,
                                   const std::vector<std::uint64_t>& shape) const;
  AlignedBuffer<std::uint32_t> read_words(const char* suffix, const std::vector<std::uint64_t>& shape) const;
  /// Scales of shape [N, G] (or [G, N] when `groups_first`), stored into tensor.scales and tensor.scale_dtype.
  /// Throws when one is not finite.
  void read_scales(const char* suffix, bool groups_first, quant::QuantizedTensor& tensor) const;
  /// Group of every input (I32 [K]), checked to be in [0, G); empty when it is just k / group_size.
  std::vector<std::int32_t> read_group_index(const char* suffix) const;

  std::uint64_t groups() const { return groups_; }
  [[noreturn]] void corrupt(const char* suffix, const std::string& what) const;

 private:
  std::string tensor_name(const char* suffix) const;

  const Checkpoint& checkpoint_;
  std::string module_;
  quant::Scheme scheme_;
  std::uint64_t out_features_;
  std::uint64_t in_features_;
  std::uint64_t groups_;
};

/// Null when K splits into whole groups, else the reason in words.
const char* refuses_groups(const quant::Scheme& scheme, std::uint64_t in_features);

/// For encoders of formats without group indices: throws kUnsupported when the tensor has them or when a zero point
/// does not fit its bits, kInternal when an invariant of QuantizedTensor does not hold.
void check_encodable(const quant::QuantizedTensor& tensor, const char* format);

/// Copies words into the bytes of an encoded tensor.
EncodedTensor encode_words(std::string suffix, std::vector<std::uint64_t> shape, std::span<const std::uint32_t> words);
/// Narrows scales [N, G] to the tensor's own scale dtype, as [N, G] or, when `groups_first`, as [G, N].
EncodedTensor encode_scales(std::string suffix, const quant::QuantizedTensor& tensor, bool groups_first);

/// out [columns, rows] = transpose of in [rows, columns].
template <typename T>
void transpose(const T* in, std::uint64_t rows, std::uint64_t columns, T* out) {
  for (std::uint64_t r = 0; r < rows; ++r) {
    for (std::uint64_t c = 0; c < columns; ++c) out[c * rows + r] = in[r * columns + c];
  }
}

}  // namespace awq::formats
