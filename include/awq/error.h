#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

namespace awq {

/// Why an operation ended. The command line maps each code to one exit status (src/cli/exit_status.h).
enum class ErrorCode {
  kInvalidArgument,  ///< a flag or option value the caller can correct
  kNotFound,         ///< an input file or folder that is missing
  kCorruptFile,      ///< an input that contradicts its own format or another input
  kUnsupported,      ///< a well-formed input that this program cannot handle
  kIo,               ///< output could not be written
  kOutOfMemory,      ///< memory or disk space that the work needs is not there
  kDevice,           ///< the requested device cannot be used
  kInterrupted,      ///< stopped by a signal; signal() says which
  kInternal,         ///< a broken invariant of our own
};

/// The one exception type. A message says what was found, what was expected and where; each layer that the
/// error passes through may add a note (tensor, file, layer, command), innermost first.
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) { join(); }

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::vector<std::string>& notes() const noexcept { return notes_; }
  /// Number of the signal for kInterrupted, else 0.
  int signal() const noexcept { return signal_; }
  /// Message and notes on one line.
  const char* what() const noexcept override { return joined_.c_str(); }

  Error& add_note(std::string note) {
    notes_.push_back(std::move(note));
    join();
    return *this;
  }
  Error& set_signal(int number) noexcept {
    signal_ = number;
    return *this;
  }

 private:
  void join() {
    joined_ = message_;
    for (const std::string& note : notes_) joined_ += " (" + note + ")";
  }

  ErrorCode code_;
  std::string message_;
  std::vector<std::string> notes_;
  std::string joined_;
  int signal_ = 0;
};

}  // namespace awq
