package adminapi

// List is a page of a list.
type List[T any] struct {
	Items []T    `json:"items" nullable:"false"`
	Next  string `json:"next,omitempty" doc:"Send it as after for the next page; absent at the end."`
}

// listOf is a page as an answer; an empty one has no items, and is not null.
func listOf[S, T any](from []S, next string, view func(*S) T) *listOut[T] {
	out := &listOut[T]{Body: List[T]{Items: make([]T, 0, len(from)), Next: next}}
	for i := range from {
		out.Body.Items = append(out.Body.Items, view(&from[i]))
	}
	return out
}

type listOut[T any] struct{ Body List[T] }

// Paging is how a list is asked for in pages.
type Paging struct {
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"Items on a page."`
	After string `query:"after" maxLength:"200" doc:"The next of the page before."`
}
