#include "tests/sampling/draw_fixture.h"

namespace spade::testing {

std::vector<SampledToken> DrawTest::Draw(const Case& test, const std::vector<Place>& places) {
  std::vector<SampledToken> tokens;
  if (OnHost()) {
    for (const Place& place : places) tokens.push_back(test.Draw(place.position, place.index));
    return tokens;
  }
  TokenHistory history(test.prompt);
  for (const TokenId id : test.output) history.Append(id);
  const auto vocab = static_cast<int32_t>(test.logits.size());
  LogitQueries queries;
  std::vector<float> rows;
  for (const Place& place : places) {
    const auto row = static_cast<int32_t>(queries.queries.size());
    EXPECT_TRUE(AddDraw(row, vocab, test.params, history, test.banned, place.index, place.position,
                        queries));
    rows.insert(rows.end(), test.logits.begin(), test.logits.end());
  }
  const DeviceTensor logits = Upload(std::ssize(places), vocab, rows);
  std::vector<LogitAnswer> answers(places.size());
  backend().logit_reader()->Read(logits.view(), queries.reading(), answers);
  for (size_t i = 0; i < answers.size(); ++i) {
    tokens.push_back(TokenOf(queries.queries[i], answers[i]));
  }
  logits_after_ = logits.Read();
  return tokens;
}

std::vector<SampledToken> DrawTest::DrawAt(const Case& test, int32_t positions) {
  std::vector<Place> places;
  for (int32_t position = 0; position < positions; ++position) places.push_back({position, 0});
  return Draw(test, places);
}

SampledToken DrawTest::ScoreOf(const std::vector<float>& logits, TokenId actual, int32_t count) {
  SamplerScratch scratch;
  if (OnHost()) return Score(logits, actual, count, scratch);
  LogitQueries queries;
  AddScore(0, actual, count, queries);
  std::vector<LogitAnswer> answers(1);
  backend().logit_reader()->Read(Upload(1, std::ssize(logits), logits).view(), queries.reading(),
                                 answers);
  return TokenOf(queries.queries[0], answers[0]);
}

}  // namespace spade::testing
