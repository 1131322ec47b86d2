#include "loadtest/run_log.h"

#include <utility>

namespace spade::loadtest {
namespace {

constexpr size_t kMaxProblems = 20;

}  // namespace

void RunLog::AddProblem(std::string problem) {
  if (problems.size() < kMaxProblems) problems.push_back(std::move(problem));
}

void RunLog::Append(RunLog other) {
  requests.insert(requests.end(), other.requests.begin(), other.requests.end());
  itls.insert(itls.end(), other.itls.begin(), other.itls.end());
  unexpected_codes += other.unexpected_codes;
  broken_streams += other.broken_streams;
  for (std::string& problem : other.problems) AddProblem(std::move(problem));
}

}  // namespace spade::loadtest
