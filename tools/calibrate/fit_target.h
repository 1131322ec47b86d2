#pragma once

namespace spade {

// What L-SPADE learns to foretell: where the SPADE pass from its layer ends, or where full depth
// does. Certificates are about full depth's answer either way.
enum class FitTarget { kSpade, kFull };

}  // namespace spade
