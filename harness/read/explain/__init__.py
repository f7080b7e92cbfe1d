"""What changing one setting did to the scores: effects on the same examples, with intervals; definitions; rows known only as printed."""
