package adminapi

import (
	"context"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/sentinel-secure-x/sentinel-secure-x/server/internal/httpkit"
	"github.com/sentinel-secure-x/sentinel-secure-x/shared/protocol"
)

// secretTag marks a member that people type and nobody shows, such as a
// password: any text but NUL is right there.
const secretTag = "secret"

// checkText refuses text that does not belong into tables, logs and terminals,
// wherever it stands in an input. It names the member and never its value.
func checkText(ctx context.Context, in any) error {
	if why := textFault(reflect.ValueOf(in), "", false); why != "" {
		return newProblem(ctx, httpkit.CodeInvalid, why)
	}
	return nil
}

// textFault is what is wrong with the first such text, or "".
func textFault(v reflect.Value, name string, secret bool) string {
	switch v.Kind() { //nolint:exhaustive // no other kind holds text
	case reflect.String:
		return badText(name, v.String(), secret)
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return textFault(v.Elem(), name, secret)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if why := textFault(v.Index(i), name, secret); why != "" {
				return why
			}
		}
	case reflect.Map:
		for each := v.MapRange(); each.Next(); {
			for _, part := range []reflect.Value{each.Key(), each.Value()} {
				if why := textFault(part, name, secret); why != "" {
					return why
				}
			}
		}
	case reflect.Struct:
		for field, value := range v.Fields() {
			if !field.IsExported() { // such as the inside of a time
				continue
			}
			if why := textFault(value, placeOf(name, field), field.Tag.Get(secretTag) != ""); why != "" {
				return why
			}
		}
	}
	return ""
}

func badText(name, text string, secret bool) string {
	if secret {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return name + " has a character that cannot be stored"
		}
		return ""
	}
	if err := protocol.CheckText(name, text, len(text)); err != nil {
		return err.Error()
	}
	return ""
}

// placeOf names a member as huma does in its own refusals: body.reason, path.id.
func placeOf(name string, field reflect.StructField) string {
	if field.Anonymous {
		return name
	}
	for _, in := range []string{"path", "query"} {
		if tag := field.Tag.Get(in); tag != "" {
			return in + "." + tag
		}
	}
	tag, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if tag == "" {
		tag = strings.ToLower(field.Name)
	}
	if name == "" {
		return tag
	}
	return name + "." + tag
}
