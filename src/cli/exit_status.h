#pragma once

#include "awq/error.h"

namespace awq::cli {

/// Exit status of the program for each kind of error: 2 usage, 3 input, 4 storage, 5 resource or device, 128 + signal
/// when stopped, 1 for a fault of our own.
constexpr int exit_status(ErrorCode code, int signal_number) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return 2;
    case ErrorCode::kNotFound:
    case ErrorCode::kCorruptFile:
    case ErrorCode::kUnsupported:
      return 3;
    case ErrorCode::kIo:
      return 4;
    case ErrorCode::kOutOfMemory:
    case ErrorCode::kDevice:
      return 5;
    case ErrorCode::kInterrupted:
      return 128 + signal_number;
    case ErrorCode::kInternal:
      return 1;
  }
  return 1;
}

}  // namespace awq::cli
