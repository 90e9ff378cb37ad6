#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file/input_file.h"
#include "tensor/dtype.h"

namespace awq::formats {

/// Name, type and shape of one stored tensor.
struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::uint64_t> shape;

  /// Bytes of the data; the product was checked when the spec came from a file.
  std::uint64_t size_bytes() const;
  std::uint64_t elements() const;
};

/// "[4096, 32]"
std::string shape_string(std::span<const std::uint64_t> shape);

/// A tensor in a file: where its bytes are.
struct StoredTensor : TensorSpec {
  std::uint64_t offset = 0;  ///< of the first byte, from the start of the file
};

struct SafetensorsHeader {
  std::vector<StoredTensor> tensors;            ///< in the order of their data
  std::map<std::string, std::string> metadata;  ///< the "__metadata__" entry
};

/// Reads and checks a header (docs/formats/safetensors.md lists the rules). Throws kCorruptFile with file and tensor.
SafetensorsHeader read_safetensors_header(const file::InputFile& input);
/// The same on bytes: `head` is the file's first bytes (at least 8 + header length), `file_size` its full length.
SafetensorsHeader parse_safetensors_header(std::string_view head, std::uint64_t file_size, const std::string& name);
/// Header lengths above this are refused, by the format's own rule.
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

/// Where a writer will put each tensor of one file. Tensors are ordered by dtype rank (wide first), then name.
struct SafetensorsLayout {
  std::string head;                   ///< the 8 length bytes and the padded JSON header
  std::vector<StoredTensor> tensors;  ///< with offsets from the start of the file
  std::uint64_t file_size = 0;
};
SafetensorsLayout plan_safetensors(std::vector<TensorSpec> tensors);

}  // namespace awq::formats
