#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "file/json.h"
#include "file/output_file.h"

namespace awq::quantize {

/// Files of an output beside the checkpoint: hashes of all others, and times and memory of the run that made it.
inline constexpr const char* kManifest = "awq_manifest.json";
inline constexpr const char* kRun = "awq_run.json";

/// The place where an output is built: "OUT.awq-partial", beside OUT and so on the same file system.
///
///   OUT.awq-partial/lock      held while a process works here; the last to go, because another may then come in
///   OUT.awq-partial/journal   what is finished
///   OUT.awq-partial/hidden.*  hidden states at the last two layer boundaries
///   OUT.awq-partial/model/    the output itself; gets the name OUT in one step at the very end
///
/// Should somebody move or remove the folder, another run may make a new one of that name. What no longer is this
/// run's own is never touched: clear(), check_ours() and publish() throw kIo, and discard() does nothing.
class Staging {
 public:
  /// Throws kInvalidArgument when `output` holds something, unless that is an output of this program and `force` is
  /// set, or when another run works on it.
  Staging(const std::filesystem::path& output, bool force);

  std::filesystem::path folder() const { return folder_; }
  std::filesystem::path model() const { return folder_ / "model"; }
  std::filesystem::path journal() const { return folder_ / "journal"; }
  std::filesystem::path hidden(std::int64_t layer) const {
    return folder_ / (layer % 2 == 0 ? "hidden.0" : "hidden.1");
  }

  /// True when --resume could save some work, or nobody can tell.
  bool holds_finished_layers() const;
  /// Removes what an earlier run left and starts an empty model folder.
  void clear();
  void check_ours() const;
  /// Removes what this folder holds, for a run that failed before it had finished anything. Never throws.
  void discard() noexcept;
  /// Gives model() the name of the output, in the place of an older output if there is one, and removes the rest.
  void publish();

 private:
  std::filesystem::path output_;
  std::filesystem::path folder_;
  bool force_;
  std::unique_ptr<file::FileLock> lock_;
};

/// True when the output is whole and no run has a finished layer of a replacement.
bool is_published(const std::filesystem::path& output);
/// Removes what the run that published `output` did not come to remove. Throws kInvalidArgument when another run works
/// there.
void remove_leftovers(const std::filesystem::path& output);
/// "OUT" + ".awq-partial"
std::filesystem::path staging_folder(const std::filesystem::path& output);
/// Throws kInvalidArgument when the output is the model folder, lies in it or holds it.
void check_output_apart(const std::filesystem::path& model, const std::filesystem::path& output);

}  // namespace awq::quantize
