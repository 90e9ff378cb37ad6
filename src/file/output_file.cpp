#include "file/output_file.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "file/input_file.h"
#include "file/system.h"

namespace awq::file {
namespace {

constexpr std::uint64_t kMaxFileBytes = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
constexpr std::size_t kCopyBytes = std::size_t{4} << 20;

std::string describe_errno(int code) {
  const char* text = std::strerror(code);
  if (code == ENOSPC || code == EDQUOT) return fmt::format("the disk is full ({})", text);
  return text;
}

[[noreturn]] void fail_io(const std::filesystem::path& path, const char* action, int code) {
  fail(ErrorCode::kIo, "{}: cannot {}: {}", path.string(), action, describe_errno(code));
}

int open_retrying(const std::filesystem::path& path, int flags, unsigned mode) {
  int fd = -1;
  do {
    fd = system().open(path.c_str(), flags, mode);
  } while (fd < 0 && errno == EINTR);
  return fd;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  const std::filesystem::path parent = path.parent_path();
  return parent.empty() ? std::filesystem::path(".") : parent;
}

/// Removes a file whose writing failed. The first error is the one to report, so this one is dropped.
void discard(const std::filesystem::path& path) noexcept { system().remove(path.c_str()); }

}  // namespace

OutputFile::OutputFile(std::filesystem::path path, Mode mode) : path_(std::move(path)) {
  int flags = O_WRONLY;
  if (mode == Mode::kCreate) flags |= O_CREAT | O_TRUNC;
  if (mode == Mode::kReplace) flags |= O_CREAT | O_EXCL;
  fd_ = open_retrying(path_, flags, 0666);
  if (fd_ < 0 && errno == EEXIST && mode == Mode::kReplace) {
    discard(path_);
    fd_ = open_retrying(path_, flags, 0666);
  }
  if (fd_ < 0) fail_with_errno(mode == Mode::kUpdate ? "open for writing" : "create");
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) system().close(fd_);
}

void OutputFile::fail_with_errno(const char* action) const { fail_io(path_, action, errno); }

void OutputFile::allocate(std::uint64_t bytes) {
  if (bytes > kMaxFileBytes) fail_io(path_, "reserve space", EFBIG);
  int result = 0;
  do {
    result = system().allocate(fd_, static_cast<std::int64_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0) fail_with_errno("reserve space");
}

void OutputFile::truncate(std::uint64_t bytes) {
  if (bytes > kMaxFileBytes) fail_io(path_, "set the size", EFBIG);
  int result = 0;
  do {
    result = system().truncate(fd_, static_cast<std::int64_t>(bytes));
  } while (result != 0 && errno == EINTR);
  if (result != 0) fail_with_errno("set the size");
}

void OutputFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (offset > kMaxFileBytes || bytes.size() > kMaxFileBytes - offset) fail_io(path_, "write", EFBIG);
  while (!bytes.empty()) {
    const ssize_t written = system().pwrite(fd_, bytes.data(), bytes.size(), static_cast<std::int64_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno("write");
    if (written == 0) fail_io(path_, "write", EIO);  // no progress and no error: do not spin on it
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

// Not repeated on EINTR or any other error: after a failed fsync the kernel may have dropped the pages, and the next
// call would report success for data that is gone.
void OutputFile::sync() {
  if (system().fsync(fd_) != 0) fail_with_errno("sync");
}

void OutputFile::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd >= 0 && system().close(fd) != 0) fail_with_errno("close");
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  OutputFile out(temporary, OutputFile::Mode::kReplace);
  try {
    out.write_at(0, std::as_bytes(std::span(bytes.data(), bytes.size())));
    out.sync();
    out.close();
    rename_path(temporary, path);
  } catch (...) {
    discard(temporary);
    throw;
  }
  sync_folder(folder_of(path));
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = open_retrying(folder, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) fail_io(folder, "open the folder", errno);
  const int result = system().fsync(fd);
  const int code = errno;
  system().close(fd);
  // Some network and FUSE file systems cannot sync a folder and say so with EINVAL: nothing more can be done there.
  if (result != 0 && code != EINVAL) fail_io(folder, "sync the folder", code);
}

void rename_path(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (system().rename(from.c_str(), to.c_str()) != 0) {
    const int code = errno;
    fail(ErrorCode::kIo, "{}: cannot rename to {}: {}", from.string(), to.string(), describe_errno(code));
  }
}

void exchange_paths(const std::filesystem::path& a, const std::filesystem::path& b) {
  if (system().exchange(a.c_str(), b.c_str()) == 0) return;
  const int code = errno;
  if (code != EINVAL && code != ENOSYS && code != EOPNOTSUPP) {
    fail(ErrorCode::kIo, "{}: cannot exchange with {}: {}", a.string(), b.string(), describe_errno(code));
  }
  // This file system has no exchange: three renames, undone when one fails.
  std::filesystem::path aside = a;
  aside += ".swap";
  rename_path(a, aside);
  try {
    rename_path(b, a);
  } catch (...) {
    system().rename(aside.c_str(), a.c_str());
    throw;
  }
  rename_path(aside, b);
}

void make_folder(const std::filesystem::path& path) {
  if (system().mkdir(path.c_str(), 0777) == 0) return;
  const int code = errno;
  std::error_code ignored;
  if (code == EEXIST && std::filesystem::is_directory(path, ignored)) return;
  fail_io(path, "make the folder", code);
}

void copy_file(const std::filesystem::path& from, const std::filesystem::path& to) {
  const InputFile input(from);
  std::error_code ignored;
  if (std::filesystem::equivalent(from, to, ignored)) {
    fail(ErrorCode::kInvalidArgument, "{}: cannot be copied onto itself ({})", from.string(), to.string());
  }
  OutputFile output(to, OutputFile::Mode::kCreate);
  try {
    std::vector<std::byte> buffer(static_cast<std::size_t>(std::min<std::uint64_t>(kCopyBytes, input.size_bytes())));
    for (std::uint64_t offset = 0; offset < input.size_bytes(); offset += buffer.size()) {
      const auto count = std::min<std::uint64_t>(buffer.size(), input.size_bytes() - offset);
      const std::span<std::byte> part(buffer.data(), static_cast<std::size_t>(count));
      input.read_at(offset, part);
      output.write_at(offset, part);
    }
    output.sync();
    output.close();
    input.check_unchanged();
  } catch (...) {
    discard(to);
    throw;
  }
}

void remove_tree(const std::filesystem::path& path) {
  // Parents come before their children in `found`; links are removed, never followed.
  std::vector<std::filesystem::path> found{path};
  for (std::size_t next = 0; next < found.size(); ++next) {
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::symlink_status(found[next], error);
    if (status.type() != std::filesystem::file_type::directory) continue;
    std::filesystem::directory_iterator entry(found[next], error);
    if (error) fail_io(found[next], "list the folder", error.value());
    while (entry != std::filesystem::directory_iterator()) {
      found.push_back(entry->path());
      entry.increment(error);
      if (error) fail_io(path, "list the folder", error.value());
    }
  }
  for (auto item = found.rbegin(); item != found.rend(); ++item) {
    if (system().remove(item->c_str()) != 0 && errno != ENOENT) fail_io(*item, "remove", errno);
  }
}

void remove_empty_folder(const std::filesystem::path& path) {
  if (system().remove(path.c_str()) == 0 || errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST) return;
  fail_io(path, "remove", errno);
}

FileLock::FileLock(const std::filesystem::path& path) : path_(path) {
  // The holder may rename or remove the file's folder between our open and our lock. The lock then is on a file that
  // nobody will look at again, so the name must still lead to it; else try once more with the new file.
  for (int attempt = 0; attempt < 3; ++attempt) {
    fd_ = open_retrying(path, O_RDWR | O_CREAT, 0666);
    if (fd_ < 0) fail_io(path, "open the lock file", errno);
    try {
      int result = 0;
      do {
        result = system().lock(fd_);
      } while (result != 0 && errno == EINTR);
      if (result != 0 && errno == EWOULDBLOCK) {
        fail(ErrorCode::kInvalidArgument, "{}: another process is using it", path.string());
      }
      if (result != 0) fail_io(path, "lock", errno);
      if (is_in_place()) return;
    } catch (...) {
      system().close(fd_);
      throw;
    }
    system().close(std::exchange(fd_, -1));
  }
  fail(ErrorCode::kInvalidArgument, "{}: another process keeps replacing the lock file", path.string());
}

FileLock::~FileLock() {
  if (fd_ >= 0) system().close(fd_);
}

bool FileLock::is_in_place() const {
  const int named_fd = open_retrying(path_, O_RDONLY, 0);
  if (named_fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return false;
  if (named_fd < 0) fail_io(path_, "open the lock file", errno);
  struct stat locked {};
  struct stat named {};
  const bool known = system().fstat(fd_, &locked) == 0 && system().fstat(named_fd, &named) == 0;
  const int code = errno;
  system().close(named_fd);
  if (!known) fail_io(path_, "look at the lock file", code);
  // The file that is open here keeps its inode number from being given to another.
  return locked.st_ino == named.st_ino && locked.st_dev == named.st_dev;
}

}  // namespace awq::file
