#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace awq::file {

/// A file being written. Every failure throws kIo with the path and what the system said; a full disk says so.
class OutputFile {
 public:
  enum class Mode {
    kCreate,   ///< a new file, or an old one cut to nothing
    kUpdate,   ///< an existing file, contents kept
    kReplace,  ///< a new file that nobody else can have made: an old one, or a link, of that name is removed first
  };
  OutputFile(std::filesystem::path path, Mode mode);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  /// Closes without a check: call close() to know that all is written.
  ~OutputFile();

  const std::filesystem::path& path() const noexcept { return path_; }
  /// Reserves disk space, so that a full disk is found before the work and not after it.
  void allocate(std::uint64_t bytes);
  void truncate(std::uint64_t bytes);
  void write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  void sync();
  void close();

 private:
  [[noreturn]] void fail_with_errno(const char* action) const;

  std::filesystem::path path_;
  int fd_ = -1;
};

/// Writes `bytes` under a temporary name beside `path`, syncs, and renames: `path` is whole or untouched.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);
/// Makes the names inside a folder durable.
void sync_folder(const std::filesystem::path& folder);
/// rename(2); throws kIo.
void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
/// Swaps two existing paths in one step where the file system can; throws kIo.
void exchange_paths(const std::filesystem::path& a, const std::filesystem::path& b);
/// mkdir(2) unless the folder exists; throws kIo.
void make_folder(const std::filesystem::path& path);
/// Copies a regular file (data synced); throws.
void copy_file(const std::filesystem::path& from, const std::filesystem::path& to);
/// Removes a folder and all in it; what is missing already is no error. Throws kIo.
void remove_tree(const std::filesystem::path& path);
/// Removes a folder unless something is in it; one that is missing already is no error. Throws kIo.
void remove_empty_folder(const std::filesystem::path& path);

/// A lock on a file that the kernel releases when the process ends, however it ends.
class FileLock {
 public:
  /// Throws kInvalidArgument when another process holds it.
  explicit FileLock(const std::filesystem::path& path);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

  /// True while its path leads to the file that is locked. Else the file was moved or removed, and the path is free for
  /// another process. Throws kIo when the file system does not say.
  bool is_in_place() const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

}  // namespace awq::file
