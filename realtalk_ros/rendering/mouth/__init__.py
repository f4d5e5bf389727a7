# SPDX-License-Identifier: Apache-2.0
"""The inside of a mouth: where it is, and the light and the colours in it; and the skin below it.

mouth       the map of its interior, by mouth_model, human_teeth, gum_line and lip_outline;
            puckered_mouth: how far it goes down
oral_cavity the light in it, by mouth_tables, lip_shadow, tooth_relief and softness
chin_skin   how far that is stretched
colours     enamel_colour; monochrome: of photographs without colours; flat_mouth: of drawings
"""
