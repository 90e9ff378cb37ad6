#include "formats/checkpoint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/checked_math.h"
#include "file/sha256.h"
#include "formats/checkpoint_index.h"
#include "tensor/convert.h"

namespace awq::formats {
namespace {

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr std::uint64_t kMaxIndexBytes = kMaxHeaderBytes;
constexpr std::size_t kFloatChunk = std::size_t{1} << 18;  // elements widened at a time

[[noreturn]] void fail_without_weights(const std::filesystem::path& folder) {
  for (const char* other : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (file::is_regular_file(folder / other)) {
      fail(ErrorCode::kNotFound, "{}: has {} but no {}: convert to safetensors first", folder.string(), other,
           kSingleFile);
    }
  }
  fail(ErrorCode::kNotFound, "{}: neither {} nor {} is there", folder.string(), kSingleFile, kIndexFile);
}

/// SHA-256 of the length and the header, which together determine where every tensor lies.
std::string header_digest(const file::InputFile& input, const SafetensorsHeader& header) {
  const std::uint64_t head_bytes = header.tensors.empty() ? input.size_bytes() : header.tensors.front().offset;
  std::vector<std::byte> head(static_cast<std::size_t>(head_bytes));
  input.read_at(0, head);
  return file::Sha256().update(head).hex();
}

}  // namespace

Checkpoint Checkpoint::open(const std::filesystem::path& folder) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(folder, ignored)) {
    fail(ErrorCode::kNotFound, "{}: no such folder", folder.string());
  }
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;

  const std::string index_name = (folder / kIndexFile).string();
  std::map<std::string, std::string> index;         // tensor -> file
  std::map<std::string, std::size_t> file_numbers;  // file -> position in files_
  if (file::is_regular_file(index_name)) {
    index = parse_checkpoint_index(file::read_text_file(index_name, kMaxIndexBytes), index_name);
    for (const auto& [tensor, file_name] : index) file_numbers.emplace(file_name, 0);
    if (!file_numbers.contains(kSingleFile) && file::is_regular_file(folder / kSingleFile)) {
      // Loaders disagree about which of the two wins, so neither is safe to take.
      fail(ErrorCode::kCorruptFile, "{}: there is also a {} that the index does not name: remove one of the two",
           index_name, kSingleFile);
    }
  } else if (file::is_regular_file(folder / kSingleFile)) {
    file_numbers.emplace(kSingleFile, 0);
  } else {
    fail_without_weights(folder);
  }

  for (auto& [file_name, number] : file_numbers) {
    number = checkpoint.files_.size();
    if (!index.empty() && !file::is_regular_file(folder / file_name)) {
      fail(ErrorCode::kCorruptFile, "{}: the index names {}, which is missing or no regular file", index_name,
           file_name);
    }
    const file::InputFile& input = checkpoint.files_.emplace_back(folder / file_name);
    SafetensorsHeader header = read_safetensors_header(input);
    checkpoint.header_digests_.push_back(header_digest(input, header));
    for (StoredTensor& stored : header.tensors) {
      Tensor& tensor = checkpoint.tensors_.emplace_back();
      static_cast<StoredTensor&>(tensor) = std::move(stored);
      tensor.file = number;
    }
  }

  std::vector<Tensor>& tensors = checkpoint.tensors_;
  std::sort(tensors.begin(), tensors.end(), [](const Tensor& a, const Tensor& b) { return a.name < b.name; });
  checkpoint.by_name_.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto [known, is_new] = checkpoint.by_name_.emplace(tensors[i].name, i);
    if (!is_new) {
      fail(ErrorCode::kCorruptFile, "{}: tensor \"{}\" is in {} and in {}", folder.string(), printable(tensors[i].name),
           checkpoint.files_[tensors[known->second].file].path().filename().string(),
           checkpoint.files_[tensors[i].file].path().filename().string());
    }
  }
  // Tensors that the index leaves out are kept: the usual loaders read whole shards as well.
  for (const auto& [name, file_name] : index) {
    const Tensor* tensor = checkpoint.find(name);
    if (tensor == nullptr || tensor->file != file_numbers.at(file_name)) {
      fail(ErrorCode::kCorruptFile, "{}: tensor \"{}\" should be in {} but is not", index_name, printable(name),
           file_name);
    }
  }
  return checkpoint;
}

const Checkpoint::Tensor* Checkpoint::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

const Checkpoint::Tensor& Checkpoint::get(std::string_view name) const {
  const Tensor* tensor = find(name);
  if (tensor == nullptr) {
    fail(ErrorCode::kCorruptFile, "{}: tensor \"{}\" is missing", folder_.string(), printable(name));
  }
  return *tensor;
}

void Checkpoint::read(const Tensor& tensor, std::span<std::byte> to, std::uint64_t begin) const {
  const std::uint64_t size = tensor.size_bytes();
  AWQ_CHECK(begin <= size && to.size() <= size - begin);
  files_.at(tensor.file).read_at(tensor.offset + begin, to);
}

void Checkpoint::read_floats(const Tensor& tensor, std::span<float> to, std::uint64_t begin) const {
  if (!is_float_weight(tensor.dtype)) {
    fail(ErrorCode::kCorruptFile, "{}: tensor \"{}\": dtype {}, expected F32, F16 or BF16",
         files_.at(tensor.file).path().string(), printable(tensor.name), dtype_name(tensor.dtype));
  }
  const std::uint64_t element_bytes = dtype_bits(tensor.dtype) / 8;
  const std::uint64_t elements = tensor.elements();
  AWQ_CHECK(begin <= elements && to.size() <= elements - begin);
  if (tensor.dtype == DType::kF32) return read(tensor, std::as_writable_bytes(to), begin * element_bytes);
  std::vector<std::byte> narrow(std::min(to.size(), kFloatChunk) * element_bytes);
  while (!to.empty()) {
    const std::size_t count = std::min(to.size(), kFloatChunk);
    const std::span<std::byte> part(narrow.data(), count * element_bytes);
    read(tensor, part, begin * element_bytes);
    widen_to_float(tensor.dtype, part, to.first(count));
    to = to.subspan(count);
    begin += count;
  }
}

std::uint64_t Checkpoint::total_bytes() const {
  std::uint64_t total = 0;  // each file exists, so the sum fits
  for (const Tensor& tensor : tensors_) total += tensor.size_bytes();
  return total;
}

std::string Checkpoint::fingerprint() const {
  file::Sha256 hash;
  for (std::size_t i = 0; i < files_.size(); ++i) {
    const file::FileStamp& stamp = files_[i].stamp();
    hash.update(fmt::format("{}\n{}\n{}\n{}\n", files_[i].path().filename().string(), header_digests_[i],
                            stamp.size_bytes, stamp.mtime_ns));
  }
  return hash.hex();
}

void Checkpoint::check_unchanged() const {
  for (const file::InputFile& input : files_) input.check_unchanged();
}

}  // namespace awq::formats
