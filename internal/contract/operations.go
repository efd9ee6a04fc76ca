package contract

import (
	"slices"
	"strings"

	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

// Operation is a method of a path of the contract.
type Operation struct {
	Method, Path string
	Caller       string // device, everybody or operator
	Query        []string
	Header       []string
	// Body has a value in every field that a request may have: nil for a request without a body.
	Body any
}

// Operations are all of them.
func Operations() (all []Operation, err error) {
	document, err := Document()
	if err != nil {
		return nil, err
	}
	model, err := document.BuildV3Model()
	if err != nil {
		return nil, err
	}
	for path, item := range model.Model.Paths.PathItems.FromOldest() {
		for method, o := range item.GetOperations().FromOldest() {
			all = append(all, operation(strings.ToUpper(method), path, o))
		}
	}
	return all, nil
}

func operation(method, path string, o *v3.Operation) Operation {
	made := Operation{Method: method, Path: path, Caller: o.Tags[0]}
	for _, p := range o.Parameters {
		switch p.In {
		case "query":
			made.Query = append(made.Query, p.Name)
		case "header":
			made.Header = append(made.Header, p.Name)
		}
	}
	if o.RequestBody != nil {
		if content, ok := o.RequestBody.Content.Get("application/json"); ok {
			made.Body = example(content.Schema.Schema())
		}
	}
	return made
}

// example is a value of a schema.
func example(s *base.Schema) any {
	kind := ""
	if len(s.Type) > 0 {
		kind = s.Type[0]
	}
	switch {
	case len(s.Enum) > 0:
		return s.Enum[0].Value
	case kind == "object":
		fields := map[string]any{}
		for name, property := range s.Properties.FromOldest() {
			fields[name] = example(property.Schema())
		}
		for _, property := range s.PatternProperties.FromOldest() {
			fields["id"] = example(property.Schema())
		}
		return fields
	case kind == "array" && s.Items != nil && s.Items.IsA():
		return []any{example(s.Items.A.Schema())}
	case slices.Contains([]string{"integer", "number"}, kind):
		return 1
	case kind == "boolean":
		return true
	}
	return "x"
}
