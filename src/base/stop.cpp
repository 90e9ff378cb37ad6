#include "base/stop.h"

namespace awq {

StopFlag& stop_flag() noexcept {
  static StopFlag flag;
  return flag;
}

}  // namespace awq
