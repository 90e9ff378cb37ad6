#include "file/input_file.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "file/system.h"

namespace awq::file {
namespace {

FileStamp stamp_of(const struct stat& info) {
  return {.size_bytes = static_cast<std::uint64_t>(info.st_size),
          .inode = static_cast<std::uint64_t>(info.st_ino),
          .mtime_ns = static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec};
}

}  // namespace

InputFile::InputFile(std::filesystem::path path) : path_(std::move(path)) {
  // O_NONBLOCK: opening a pipe that somebody put in the place of a file must not hang.
  fd_ = system().open(path_.c_str(), O_RDONLY | O_NONBLOCK, 0);
  if (fd_ < 0) fail(ErrorCode::kNotFound, "{}: cannot open: {}", path_.string(), std::strerror(errno));
  struct stat info {};
  if (system().fstat(fd_, &info) != 0) {
    const int code = errno;
    system().close(fd_);
    fail(ErrorCode::kNotFound, "{}: cannot stat: {}", path_.string(), std::strerror(code));
  }
  if (!S_ISREG(info.st_mode)) {
    system().close(fd_);
    fail(ErrorCode::kCorruptFile, "{}: not a regular file", path_.string());
  }
  stamp_ = stamp_of(info);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), stamp_(other.stamp_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(stamp_, other.stamp_);
  return *this;
}

InputFile::~InputFile() {
  if (fd_ >= 0) system().close(fd_);
}

void InputFile::check_unchanged() const {
  const InputFile now(path_);
  if (now.stamp_ != stamp_) {
    fail(ErrorCode::kCorruptFile, "{}: the file changed while it was in use ({} bytes now, {} at the start)",
         path_.string(), now.stamp_.size_bytes, stamp_.size_bytes);
  }
}

void InputFile::read_at(std::uint64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t got = system().pread(fd_, to.data(), to.size(), static_cast<std::int64_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      fail(ErrorCode::kCorruptFile, "{}: cannot read {} bytes at offset {}: {}", path_.string(), to.size(), offset,
           std::strerror(errno));
    }
    if (got == 0) {
      fail(ErrorCode::kCorruptFile, "{}: ends at offset {}, expected {} more bytes", path_.string(), offset, to.size());
    }
    offset += static_cast<std::uint64_t>(got);
    to = to.subspan(static_cast<std::size_t>(got));
  }
}

std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const InputFile input(path);
  if (input.size_bytes() > max_bytes) {
    fail(ErrorCode::kCorruptFile, "{}: {} bytes, expected at most {}", path.string(), input.size_bytes(), max_bytes);
  }
  std::string text(input.size_bytes(), '\0');
  input.read_at(0, std::as_writable_bytes(std::span(text.data(), text.size())));
  return text;
}

bool is_regular_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

}  // namespace awq::file
