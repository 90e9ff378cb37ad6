#include "quantize/hidden_states.h"

#include <utility>

#include "base/check.h"
#include "file/input_file.h"
#include "file/output_file.h"
#include "file/sha256.h"

namespace awq::quantize {

void HiddenStates::load(std::int64_t begin, std::int64_t count, float* out) const {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count * width_; ++i)
    out[i] = to_float(values_[static_cast<std::size_t>(begin * width_ + i)]);
}

void HiddenStates::store(std::int64_t begin, std::int64_t count, const float* from) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count * width_; ++i)
    values_[static_cast<std::size_t>(begin * width_ + i)] = to_bf16(from[i]);
}

std::string write_hidden(const std::filesystem::path& path, std::span<const HiddenStates> streams) {
  file::OutputFile hidden(path, file::OutputFile::Mode::kCreate);
  std::uint64_t at = 0;
  file::Sha256 hash;
  for (const HiddenStates& stream : streams) {
    hidden.write_at(at, stream.bytes());
    hash.update(stream.bytes());
    at += stream.bytes().size();
  }
  hidden.sync();
  hidden.close();
  return hash.hex();
}

void read_hidden(const std::filesystem::path& path, const std::string& sha256, std::span<HiddenStates> streams) {
  const file::InputFile input(path);
  std::uint64_t size = 0;
  for (const HiddenStates& stream : streams) size += stream.bytes().size();
  if (input.size_bytes() != size) {
    fail(ErrorCode::kCorruptFile, "{}: {} bytes, expected {}; remove the folder to start over", input.path().string(),
         input.size_bytes(), size);
  }
  std::uint64_t at = 0;
  file::Sha256 hash;
  for (HiddenStates& stream : streams) {
    input.read_at(at, stream.bytes());
    hash.update(std::as_const(stream).bytes());
    at += stream.bytes().size();
  }
  if (hash.hex() != sha256) {
    fail(ErrorCode::kCorruptFile, "{}: its checksum is not that of the journal; remove the folder to start over",
         input.path().string());
  }
}

}  // namespace awq::quantize
