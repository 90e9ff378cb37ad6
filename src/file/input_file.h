#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace awq::file {

/// What identifies the state of a file without reading it all; a change between two looks is a changed input.
struct FileStamp {
  std::uint64_t size_bytes = 0;
  std::uint64_t inode = 0;
  std::int64_t mtime_ns = 0;
  bool operator==(const FileStamp&) const = default;
};

/// A regular file opened for reading by position. Nothing is mapped, so a file that shrinks gives an error and not
/// a signal. Safe to read from many threads.
class InputFile {
 public:
  /// Throws kNotFound when there is no such file, kCorruptFile when it is not a regular file.
  explicit InputFile(std::filesystem::path path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  const std::filesystem::path& path() const noexcept { return path_; }
  std::uint64_t size_bytes() const noexcept { return stamp_.size_bytes; }
  const FileStamp& stamp() const noexcept { return stamp_; }
  /// Throws kCorruptFile when the file on disk is no longer the one that was opened.
  void check_unchanged() const;

  /// Fills `to` from `offset`. Throws kCorruptFile when the file ends before that.
  void read_at(std::uint64_t offset, std::span<std::byte> to) const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  FileStamp stamp_;
};

/// The whole file; throws kCorruptFile when it is larger than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes);

/// True when `path` is a regular file (links are followed: Hub caches are made of them).
bool is_regular_file(const std::filesystem::path& path);

}  // namespace awq::file
