#include "formats/checkpoint_writer.h"

#include <fmt/format.h>

#include <span>

#include "base/check.h"
#include "file/input_file.h"
#include "file/json.h"

namespace awq::formats {

CheckpointPlan plan_checkpoint(std::vector<TensorSpec> tensors, std::uint64_t max_shard_bytes) {
  std::vector<std::vector<TensorSpec>> groups(1);
  std::uint64_t filled = 0;
  CheckpointPlan plan;
  for (TensorSpec& tensor : tensors) {
    const std::uint64_t bytes = tensor.size_bytes();
    if (filled > 0 && filled + bytes > max_shard_bytes) {
      groups.emplace_back();
      filled = 0;
    }
    filled += bytes;
    plan.tensor_bytes += bytes;
    groups.back().push_back(std::move(tensor));
  }
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::string name = groups.size() == 1 ? "model.safetensors"
                                                : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, groups.size());
    plan.shards.push_back({name, plan_safetensors(std::move(groups[i]))});
    plan.file_bytes += plan.shards.back().layout.file_size;
  }
  return plan;
}

std::string CheckpointPlan::index_json() const {
  if (shards.size() == 1) return {};
  file::Json map = file::Json::object();  // sorted by name, as other writers do
  for (const ShardPlan& shard : shards) {
    for (const StoredTensor& tensor : shard.layout.tensors) map[tensor.name] = shard.file_name;
  }
  file::OrderedJson index;
  index["metadata"]["total_size"] = tensor_bytes;
  index["weight_map"] = map;
  return index.dump(2) + "\n";
}

CheckpointWriter::CheckpointWriter(const std::filesystem::path& folder, const CheckpointPlan& plan, bool resume) {
  for (std::size_t i = 0; i < plan.shards.size(); ++i) {
    const ShardPlan& shard = plan.shards[i];
    const std::filesystem::path path = folder / shard.file_name;
    const bool keep = resume && file::is_regular_file(path);
    files_.emplace_back(path, keep ? file::OutputFile::Mode::kUpdate : file::OutputFile::Mode::kCreate);
    files_.back().allocate(shard.layout.file_size);
    files_.back().write_at(0, std::as_bytes(std::span(shard.layout.head)));
    dirty_.push_back(true);
    for (const StoredTensor& tensor : shard.layout.tensors) {
      places_.emplace(tensor.name, Place{i, tensor.offset, tensor.size_bytes()});
    }
  }
}

void CheckpointWriter::write(const std::string& name, std::span<const std::byte> bytes, std::uint64_t begin) {
  const auto found = places_.find(name);
  AWQ_CHECK(found != places_.end() && begin + bytes.size() <= found->second.size_bytes);
  files_[found->second.shard].write_at(found->second.offset + begin, bytes);
  dirty_[found->second.shard] = true;
}

void CheckpointWriter::sync() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    if (dirty_[i]) files_[i].sync();
    dirty_[i] = false;
  }
}

void CheckpointWriter::close() {
  sync();
  for (file::OutputFile& file : files_) file.close();
}

}  // namespace awq::formats
