#pragma once

/// Makes the augmentation `upside_down` known: `data.augment = ["upside_down"]`.
void register_upside_down();
