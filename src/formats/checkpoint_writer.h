#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

#include "file/output_file.h"
#include "formats/safetensors.h"

namespace awq::formats {

/// One weight file of a checkpoint that is to be written.
struct ShardPlan {
  std::string file_name;
  SafetensorsLayout layout;
};

/// Where every tensor of a checkpoint will be. Known before the first weight is computed, so that layers can be written
/// in place as they are finished and a resumed run continues in the same files.
struct CheckpointPlan {
  std::vector<ShardPlan> shards;
  std::uint64_t tensor_bytes = 0;
  std::uint64_t file_bytes = 0;

  /// Text of model.safetensors.index.json; empty when there is one shard, which needs none.
  std::string index_json() const;
};

/// Fills shards greedily in the order of `tensors`; a tensor larger than the limit gets a shard of its own.
CheckpointPlan plan_checkpoint(std::vector<TensorSpec> tensors, std::uint64_t max_shard_bytes);

/// Writes tensors in any order into the files of a plan.
class CheckpointWriter {
 public:
  /// Creates the files with their headers and reserves their space, or opens what an interrupted run left.
  CheckpointWriter(const std::filesystem::path& folder, const CheckpointPlan& plan, bool resume);
  /// `bytes` must have the size that the plan gave the tensor. A null `name` is our own bug.
  void write(const std::string& name, std::span<const std::byte> bytes, std::uint64_t begin = 0);
  void sync();
  void close();

 private:
  struct Place {
    std::size_t shard;
    std::uint64_t offset;
    std::uint64_t size_bytes;
  };
  std::vector<file::OutputFile> files_;
  std::vector<bool> dirty_;
  std::unordered_map<std::string, Place> places_;
};

}  // namespace awq::formats
