#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "file/input_file.h"
#include "formats/safetensors.h"

namespace awq::formats {

/// The tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json names.
/// Safe to read from many threads.
class Checkpoint {
 public:
  struct Tensor : StoredTensor {
    std::size_t file = 0;  ///< index into files()
  };

  /// Throws kNotFound (no weights; a folder with only pytorch_model.bin gets its own message), kCorruptFile
  /// (index and shards disagree, a name twice, a shard outside the folder).
  static Checkpoint open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  const std::vector<file::InputFile>& files() const { return files_; }
  /// All tensors, sorted by name.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  /// Null when there is no such tensor.
  const Tensor* find(std::string_view name) const;
  /// Throws kCorruptFile naming the tensor when it is missing.
  const Tensor& get(std::string_view name) const;

  /// Reads all bytes, or `to.size()` bytes from `begin` of the tensor's data.
  void read(const Tensor& tensor, std::span<std::byte> to, std::uint64_t begin = 0) const;
  /// Reads elements [begin, begin + to.size()) of an F32, F16 or BF16 tensor as floats.
  void read_floats(const Tensor& tensor, std::span<float> to, std::uint64_t begin = 0) const;

  std::uint64_t total_bytes() const;
  /// SHA-256 over headers, sizes and times of all files: a changed input has another fingerprint.
  std::string fingerprint() const;
  /// Throws kCorruptFile when a file changed since open().
  void check_unchanged() const;

 private:
  std::filesystem::path folder_;
  std::vector<file::InputFile> files_;
  std::vector<Tensor> tensors_;
  std::unordered_map<std::string_view, std::size_t> by_name_;
  std::vector<std::string> header_digests_;
};

}  // namespace awq::formats
