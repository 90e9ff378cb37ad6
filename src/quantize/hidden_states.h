#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/aligned_buffer.h"
#include "base/float16.h"

namespace awq::quantize {

/// Hidden states of all calibration tokens at one layer boundary, in bf16.
class HiddenStates {
 public:
  HiddenStates(std::int64_t tokens, std::int64_t width)
      : width_(width), values_(static_cast<std::size_t>(tokens * width)) {}
  std::int64_t tokens() const { return static_cast<std::int64_t>(values_.size()) / width_; }
  void load(std::int64_t begin, std::int64_t count, float* out) const;
  void store(std::int64_t begin, std::int64_t count, const float* from);
  std::span<const std::byte> bytes() const { return values_.bytes(); }
  std::span<std::byte> bytes() { return std::as_writable_bytes(values_.span()); }

 private:
  std::int64_t width_;
  AlignedBuffer<Bf16> values_;
};

/// Writes all streams into one file, one after the other, and waits for the disk. Returns their SHA-256 in hex.
std::string write_hidden(const std::filesystem::path& path, std::span<const HiddenStates> streams);
/// Fills streams of the same sizes from it. Throws kCorruptFile for another size or checksum.
void read_hidden(const std::filesystem::path& path, const std::string& sha256, std::span<HiddenStates> streams);

}  // namespace awq::quantize
