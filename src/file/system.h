#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace awq::file {

/// Every system call of this program that touches storage, so that a test can make call N fail.
/// Each function behaves like the call of its name: -1 and errno on failure.
class System {
 public:
  virtual ~System() = default;
  virtual int open(const char* path, int flags, unsigned mode);
  virtual int close(int fd);
  virtual ssize_t pread(int fd, void* to, std::size_t bytes, std::int64_t offset);
  virtual ssize_t pwrite(int fd, const void* from, std::size_t bytes, std::int64_t offset);
  virtual int fsync(int fd);
  virtual int fstat(int fd, struct stat* out);
  virtual int allocate(int fd, std::int64_t bytes);  ///< posix_fallocate; plain ftruncate where it is not supported
  virtual int truncate(int fd, std::int64_t bytes);
  virtual int rename(const char* from, const char* to);
  virtual int exchange(const char* a, const char* b);  ///< renameat2(RENAME_EXCHANGE)
  virtual int mkdir(const char* path, unsigned mode);
  virtual int remove(const char* path);  ///< a file or an empty folder
  virtual int lock(int fd);              ///< flock(LOCK_EX | LOCK_NB)
};

/// The System in use.
System& system();

/// Puts `replacement` in the place of the real calls for the lifetime of this object. Tests only; not thread safe.
class ScopedSystem {
 public:
  explicit ScopedSystem(System& replacement);
  ~ScopedSystem();
  ScopedSystem(const ScopedSystem&) = delete;
  ScopedSystem& operator=(const ScopedSystem&) = delete;

 private:
  System* previous_;
};

}  // namespace awq::file
