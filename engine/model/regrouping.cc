#include "engine/model/regrouping.h"

#include "kernels/check.h"

namespace spade {

void Regrouping::Reserve(size_t max_rows, size_t max_entries) {
  next_.Reserve(max_rows, max_entries);
  sources_.reserve(max_rows);
}

void Regrouping::Begin(const RowBatch& batch) {
  batch_ = &batch;
  sources_.clear();
  next_.Clear();
  next_.block_tables.assign(batch.block_tables.begin(), batch.block_tables.end());
  next_.table_stride = batch.table_stride;
  next_.first_scratch_table = batch.first_scratch_table;
}

void Regrouping::Stay(int32_t row, bool wants_output) {
  const auto index = static_cast<size_t>(row);
  if (row < batch_->paged_rows()) {
    SPADE_DCHECK(next_.spade_rows == 0);
    next_.sequences.push_back(batch_->sequences[index]);
  } else {
    ++next_.spade_rows;
  }
  Append(batch_->ids[index], batch_->positions[index], wants_output, row);
}

void Regrouping::Join(const ParkedRow& row, int32_t table, bool wants_output) {
  SPADE_DCHECK(next_.spade_rows == 0);
  next_.sequences.push_back(table);
  Append(row.id, row.position, wants_output, ~row.slot);
}

void Regrouping::BecomeSpade(int32_t row, int32_t position) {
  const auto index = static_cast<size_t>(row);
  ++next_.spade_rows;
  Append(batch_->ids[index], position, batch_->wants_output[index] != 0, row);
}

void Regrouping::Append(TokenId id, int32_t position, bool wants_output, int32_t source) {
  next_.ids.push_back(id);
  next_.positions.push_back(position);
  next_.wants_output.push_back(wants_output ? 1 : 0);
  sources_.push_back(source);
}

}  // namespace spade
