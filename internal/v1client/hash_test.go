package v1client

import (
	"encoding/json"
	"testing"
)

// Both vectors were taken from a running server of the original project.
func TestTheHashIsTheOneOfTheOriginalServer(t *testing.T) {
	t.Parallel()
	for want, row := range map[string]Row{
		"25a4f1b1aab5430ed2cdf3d2b19711d7c2f5a440e90455591b10f64f70db0dce": {
			Schema: "business", Table: "users", Op: Insert, Version: 1,
			Key: map[string]string{"id": "be9ffa2d-e512-426b-b2fe-3a9618ce8d72"},
			Payload: json.RawMessage(`{"id":"be9ffa2d-e512-426b-b2fe-3a9618ce8d72","name":"<b>&\"é` + "\u2028" + `","email":"e@x",
				"created_at":"2026-01-02T03:04:05.123456+00:00","updated_at":"2026-01-02T03:04:05+00:00"}`),
		},
		"8923a3f12038f9dc1ea44a0d715587897f9991e0b9ae91be263a1e3d80c566bc": {
			Schema: "business", Table: "typed_rows", Op: Insert, Version: 2,
			Key: map[string]string{"id": "1008b701-d984-403a-bcf2-325c6dcb478b"},
			Payload: json.RawMessage(`{"id":"1008b701-d984-403a-bcf2-325c6dcb478b","name":"x","note":null,"count_value":9007199254740993,
				"enabled_flag":1,"rating":1000000000000000000000,"data":"yv66vg==","created_at":"2026-03-24T18:42:11.123457+00:00"}`),
		},
	} {
		got, err := BundleHash([]Row{row})
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", row.Table, got, want)
		}
	}
}
