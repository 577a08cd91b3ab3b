package policy

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"
)

// BenchmarkRule/selo judges by one rule of the usual kind. BenchmarkRule/floor is one SHA-256 of 64 bytes and as many
// small allocations as CEL makes, for these are what a busy machine slows down. BenchmarkRule/go is the same rule as Go would
// have it.
func BenchmarkRule(b *testing.B) {
	facts := endUserFacts(map[string]any{"acr": "3", "auth_time": ruleNow().Add(-5 * time.Minute), "roles": []string{"client", "gold"}})
	b.Run("floor", func(b *testing.B) {
		var block [64]byte
		var made [13]*[64]byte
		for b.Loop() {
			sum := sha256.Sum256(block[:])
			for i := range made {
				made[i] = &[64]byte{sum[i]}
			}
			block[0] = made[sum[0]%13][0]
		}
	})
	b.Run("go", func(b *testing.B) {
		for b.Loop() {
			acr, _ := facts.Claims["acr"].(string)
			at, _ := facts.Claims["auth_time"].(time.Time)
			roles, _ := facts.Claims["roles"].([]string)
			if acr != "2" && acr != "3" || facts.Now.Sub(at) > 15*time.Minute || slices.Contains(roles, "blocked") {
				b.Fatal("denied")
			}
		}
	})
	for name, text := range map[string]string{
		"selo": `acr_in("2", "3") && signed_in_within("15m") && (!has(claims.roles) || !("blocked" in claims.roles))`,
		"zone": `now.getHours("America/Sao_Paulo") >= 6`, // reads the zone from a file, every time
	} {
		b.Run(name, func(b *testing.B) {
			r := mustRules(b, ruleConfig(Rule{Name: "usual", Allow: text}))
			b.ReportAllocs()
			for b.Loop() {
				if v := r.Judge(facts); !v.Allowed {
					b.Fatal(v)
				}
			}
		})
	}
}
