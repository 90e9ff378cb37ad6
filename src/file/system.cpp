#include "file/system.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

namespace awq::file {
namespace {

System& real_system() {
  static System real;
  return real;
}

System*& current_system() {
  static System* current = &real_system();
  return current;
}

}  // namespace

int System::open(const char* path, int flags, unsigned mode) { return ::open(path, flags | O_CLOEXEC, mode); }
int System::close(int fd) { return ::close(fd); }
ssize_t System::pread(int fd, void* to, std::size_t bytes, std::int64_t offset) {
  return ::pread(fd, to, bytes, offset);
}
ssize_t System::pwrite(int fd, const void* from, std::size_t bytes, std::int64_t offset) {
  return ::pwrite(fd, from, bytes, offset);
}
int System::fsync(int fd) { return ::fsync(fd); }
int System::fstat(int fd, struct stat* out) { return ::fstat(fd, out); }

int System::allocate(int fd, std::int64_t bytes) {
  const int code = ::posix_fallocate(fd, 0, bytes);
  if (code == 0) return 0;
  if (code == EOPNOTSUPP || code == EINVAL) return ::ftruncate(fd, bytes);
  errno = code;
  return -1;
}

int System::truncate(int fd, std::int64_t bytes) { return ::ftruncate(fd, bytes); }
int System::rename(const char* from, const char* to) { return ::rename(from, to); }
int System::exchange(const char* a, const char* b) { return ::renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE); }
int System::mkdir(const char* path, unsigned mode) { return ::mkdir(path, mode); }
int System::remove(const char* path) { return ::remove(path); }
int System::lock(int fd) { return ::flock(fd, LOCK_EX | LOCK_NB); }

System& system() { return *current_system(); }

ScopedSystem::ScopedSystem(System& replacement) : previous_(current_system()) { current_system() = &replacement; }
ScopedSystem::~ScopedSystem() { current_system() = previous_; }

}  // namespace awq::file
