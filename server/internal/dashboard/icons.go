package dashboard

import (
	"fmt"
	"html/template"
)

// icons are the shapes of the console, drawn in a box of 16 by 16 with lines of
// the text's colour.
var icons = map[string]string{
	"overview":     `<path d="M2.5 2.5h4.5v5h-4.5zM9 2.5h4.5v3H9zM9 7.5h4.5v6H9zM2.5 9.5h4.5v4h-4.5z"/>`,
	"device":       `<path d="M2.5 3h11v7.5h-11zM6 13.5h4M8 10.5v3"/>`,
	"review":       `<path d="M3 2.5h10v11H3zM5.5 8l1.8 1.8L10.8 6"/>`,
	"command":      `<path d="M2 3h12v10H2zM4.5 6l2 2-2 2M8 10.2h3.5"/>`,
	"token":        `<path d="M10.3 2.5a3.2 3.2 0 1 1-2.6 5L3 12.2V14h2v-1.5h1.5V11l1.9-1.9M10.9 5.2h.01"/>`,
	"people":       `<path d="M6 8a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM1.5 13.5c0-2.5 2-4 4.500-4s4.500 1.500 4.500 4M10.500 3.200a2.500 2.500 0 0 1 0 4.600M12 9.800c1.600.5 2.500 1.800 2.500 3.700"/>`,
	"audit":        `<path d="M3 2.500h10v11H3zM5.500 5.500h5M5.500 8h5M5.500 10.500h3"/>`,
	"person":       `<path d="M8 8a2.800 2.800 0 1 0 0-5.600A2.800 2.800 0 0 0 8 8zM2.800 13.800c0-2.600 2.300-4 5.200-4s5.200 1.400 5.200 4"/>`,
	"shield-check": `<path d="M8 1.800l5 1.900v4c0 3.100-2 5.400-5 6.500-3-1.100-5-3.400-5-6.500v-4zM5.700 8l1.700 1.700 3-3.200"/>`,
	"shield-half":  `<path d="M8 1.800l5 1.900v4c0 3.100-2 5.400-5 6.500-3-1.100-5-3.400-5-6.500v-4z"/><path d="M8 1.800l5 1.900v4c0 3.100-2 5.400-5 6.500z" class="fill"/>`,
	"shield-x":     `<path d="M8 1.800l5 1.900v4c0 3.100-2 5.400-5 6.500-3-1.100-5-3.400-5-6.500v-4zM6 6l4 4M10 6l-4 4"/>`,
	"check":        `<path d="M8 1.800a6.200 6.200 0 1 0 0 12.400A6.200 6.200 0 0 0 8 1.800zM5.300 8.100l1.900 1.900 3.500-3.800"/>`,
	"cross":        `<path d="M8 1.800a6.200 6.200 0 1 0 0 12.400A6.200 6.200 0 0 0 8 1.800zM5.800 5.800l4.400 4.400M10.200 5.800l-4.400 4.400"/>`,
	"alert":        `<path d="M8 2.200l6.300 11.300H1.700zM8 6.500v3.200M8 11.600h.01"/>`,
	"clock":        `<path d="M8 1.800a6.200 6.200 0 1 0 0 12.400A6.200 6.200 0 0 0 8 1.800zM8 4.500V8l2.300 1.500"/>`,
	"pause":        `<path d="M8 1.800a6.200 6.200 0 1 0 0 12.400A6.200 6.200 0 0 0 8 1.800zM6.500 5.700v4.600M9.500 5.700v4.600"/>`,
	"play":         `<path d="M8 1.800a6.200 6.200 0 1 0 0 12.400A6.200 6.200 0 0 0 8 1.800zM6.700 5.500v5L10.500 8z"/>`,
	"stop":         `<path d="M8 1.800a6.200 6.200 0 1 0 0 12.400A6.200 6.200 0 0 0 8 1.800zM5 8h6"/>`,
	"hand":         `<path d="M5.100 1.800h5.800l3.300 3.300v5.800l-3.300 3.300H5.100l-3.300-3.300V5.100zM8 4.800v3.700M8 10.900h.01"/>`,
	"dot":          `<circle cx="8" cy="8" r="3.500" class="fill"/>`,
	"star":         `<path d="M8 2l1.800 3.800 4.200.5-3.100 2.900.8 4.100L8 11.300l-3.700 2 .8-4.100L2 6.300l4.200-.5z"/>`,
	"copy":         `<path d="M5.500 5.500h8v8h-8zM3 10.500h-.5v-8h8V3"/>`,
	"search":       `<path d="M7 2.500a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9zM10.300 10.300l3.700 3.700"/>`,
	"theme":        `<path d="M8 1.800a6.200 6.200 0 1 0 0 12.400A6.200 6.200 0 0 0 8 1.800z"/><path d="M8 1.800a6.200 6.200 0 0 1 0 12.400z" class="fill"/>`,
	"leave":        `<path d="M9.500 2.500h-6v11h6M7 8h7M11.500 5.500L14 8l-2.500 2.500"/>`,
	"arrow":        `<path d="M3 8h9.500M9 4.500L12.500 8 9 11.500"/>`,
	"key":          `<path d="M5.200 7.500a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600zM7.200 8.300l6-6M11 4.500l2 2"/>`,
	"download":     `<path d="M8 2.500v8M4.700 7.300L8 10.600l3.300-3.300M2.500 13.500h11"/>`,
	"brand":        `<path d="M8 1.300l5.500 2.100v4.300c0 3.400-2.200 5.900-5.500 7.100-3.300-1.200-5.500-3.700-5.500-7.100V3.400z" class="fill"/><path d="M5 8.200l2.200 2.100L11.200 5.800" class="cut"/>`,
}

// icon is a shape beside a word, which says the same: to those who listen it is
// nothing.
func icon(name string) (template.HTML, error) {
	shape, ok := icons[name]
	if !ok {
		return "", fmt.Errorf("there is no icon %s", name)
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false">` + shape + `</svg>`), nil //nolint:gosec // G203: from the table above
}
