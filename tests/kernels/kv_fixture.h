#pragma once

#include <span>
#include <vector>

#include "tests/kernels/device_test.h"

namespace spade::testing {

// Sequences whose rows are attended in one batch, with a shuffled paged cache on the device.
struct KvShape {
  HeadLayout heads;
  int32_t block_size = 16;
  DType dtype = DType::kF32;
  std::vector<int32_t> lengths;  // positions of each sequence
};

// Random queries, keys and values for every position of every sequence.
class KvFixture {
 public:
  struct Row {
    int32_t sequence;
    int32_t position;
  };

  KvFixture(Backend& backend, const KvShape& shape, uint32_t seed);

  // The row's queries, keys and values, (qkv_cols), to be changed before they are stored.
  std::span<float> QkvOf(const Row& row);
  // Overwrites the whole cache with NaN, as freed and reused blocks might hold.
  void Poison();
  // Stores positions [0, lengths[s]) of all sequences.
  void StoreAll();
  // Attends rows, which must be grouped by sequence, positions ascending.
  std::vector<float> Attend(const std::vector<Row>& rows);
  // Every row of every sequence.
  std::vector<Row> AllRows() const;
  // The attention of one row in double precision.
  std::vector<double> Reference(const Row& row) const;

 private:
  std::vector<float> QkvOf(const std::vector<Row>& rows) const;
  const float* RowAt(const Row& row) const;
  BatchView View(const std::vector<Row>& rows);

  Backend& backend_;
  KvShape shape_;
  std::vector<std::vector<float>> qkv_;  // per sequence: (length, qkv_cols)
  std::vector<int32_t> tables_;
  int32_t table_stride_ = 0;
  Buffer keys_;
  Buffer values_;
  std::vector<int32_t> positions_;
  std::vector<int32_t> sequences_;
};

}  // namespace spade::testing
