#include "engine/sequence.h"

#include <utility>

namespace awq::engine {

NewRequest make_request(RequestId id, Request&& request, std::shared_ptr<RequestSink> sink) {
  NewRequest out;
  out.state = std::make_shared<RequestState>();
  RequestState& state = *out.state;
  state.id = id;
  state.reserved_output = reserved_output(request);
  state.sampling = std::move(request.sampling);
  state.cache_salt = std::move(request.cache_salt);
  state.priority = request.priority;
  state.prompt_count = static_cast<std::int64_t>(request.prompt.size());
  state.sink = std::move(sink);
  state.open = request.n;
  for (std::int64_t choice = 0; choice < request.n; ++choice) {
    auto sequence = std::make_unique<Sequence>();
    sequence->request = out.state;
    sequence->choice = choice;
    sequence->ids.reserve(request.prompt.size() + static_cast<std::size_t>(state.reserved_output));
    sequence->ids = request.prompt;
    if (request.make_constraint) sequence->constraint = request.make_constraint();
    out.choices.push_back(std::move(sequence));
  }
  if (request.n > 1) state.leader = out.choices.front().get();
  return out;
}

}  // namespace awq::engine
